"""The client as a state machine: packets and time in; requests, and which blocks to keep, out.

It keeps maps of blocks, never the blocks themselves. Beyond the timers of the original, it uses
that a server finishes with one chunk before it turns to the next: then what is missing of the
former is lost, and is asked for again after a short random delay, unless another client asked for
the same blocks meanwhile.
"""

import random
from collections.abc import Callable

from rhubarbe.frisbee.errors import ServerSilent, TransferFailed
from rhubarbe.frisbee.ordering import ChunkOrder
from rhubarbe.frisbee.packets import (
    BLOCK_SIZE,
    BLOCKS_PER_CHUNK,
    WHOLE_CHUNK,
    Ask,
    AskPart,
    Join,
    Join2,
    Joined,
    Joined2,
    Packet,
)
from rhubarbe.frisbee.tuning import Counts, Tuning

TICK = 0.03  # seconds; the receive time-out of the original, in which idleness is counted
JOIN_INTERVAL = 0.5
REPAIR_DELAY = 0.02
_LONGEST_BACK_OFF = 33
_MOST_BLOCKS = 1 << 31
_NEVER = float("-inf")


class _Filling:
    """A chunk that has a buffer: what is missing, what of it somebody has asked for, and when."""

    __slots__ = ("asked", "asked_at", "dubious", "missing")

    def __init__(self, missing: int, asked_at: float, *, dubious: bool) -> None:
        self.missing = missing
        self.asked = 0
        self.asked_at = asked_at
        self.dubious = dubious


class Receiver:
    """Fetches one file. ``forget`` is called for a chunk whose buffer was given to another.

    Drive it so: ``poll`` at ``deadline`` and after each batch of packets, and send what it returns;
    ``receive`` each packet but blocks; ``store`` the blocks of each train, keep those it returns;
    ``written`` when a chunk's buffer is free again, until ``finished``.
    """

    def __init__(
        self,
        client: int,
        tuning: Tuning,
        *,
        now: float,
        raw: bool = False,
        forget: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.client = client
        self.tuning = tuning
        self.counts = Counts()
        self.size = self.blocks = self.chunks = self.chunks_written = 0
        self._raw = raw
        self._forget = forget
        self._random = random.Random(client)  # noqa: S311 - spreads requests, keeps no secret
        self._heard = self._join_at = now
        self._idle_at = now
        self._back_off = 0
        self._pass_due = False
        self._order = ChunkOrder(0)
        self._filling: dict[int, _Filling] = {}
        self._full = 0
        self._asked_at: dict[int, float] = {}
        self._ours: set[int] = set()
        self._short_of_buffer: set[int] = set()
        self._repair_at: dict[int, float] = {}
        self._passing = -1
        self._urgent: tuple[int, ...] = ()

    # -- what the outside asks -------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        """Whether a server has told the size of the file."""
        return self.chunks > 0

    @property
    def finished(self) -> bool:
        """Whether every chunk is on the disk."""
        return self.joined and self.chunks_written == self.chunks

    @property
    def has_all(self) -> bool:
        """Whether every chunk has come, whether or not it is on the disk."""
        return self.joined and self.chunks_written + self._full == self.chunks

    @property
    def _free(self) -> int:
        return self.tuning.buffers - len(self._filling) - self._full

    @property
    def _sated(self) -> bool:
        """Whether enough waits for the disk: the other buffers are for what others ask for."""
        return self._full >= max(2, self.tuning.buffers // 8)

    def valid(self, chunk: int) -> int:
        """Map of the blocks that ``chunk`` has: all but in a short last chunk."""
        if chunk < self.chunks - 1:
            return WHOLE_CHUNK
        return (1 << (self.blocks - chunk * BLOCKS_PER_CHUNK)) - 1

    def is_unseen(self, chunk: int) -> bool:
        """Whether ``chunk`` is one of the file's, and has no buffer yet."""
        return chunk < self.chunks and self._order.is_unseen(chunk)

    def missing(self, chunk: int) -> int:
        """Map of the blocks that ``chunk`` still lacks; 0 where it has no buffer."""
        filling = self._filling.get(chunk)
        return filling.missing if filling else 0

    def is_full(self, chunk: int) -> bool:
        """Whether all the blocks of ``chunk`` have come."""
        return self._order.is_full(chunk)

    def deadline(self) -> float:
        """When ``poll`` has something to do if nothing arrives until then."""
        if self._pass_due:
            return 0.0
        due = self._idle_at if self.joined else self._join_at
        return min(due, *self._repair_at.values()) if self._repair_at else due

    def poll(self, now: float) -> list[Packet]:
        """Return what is to be sent now.

        Raises:
            ServerSilent: nothing came from the server for longer than the limit.

        """
        self._check_silence(now)
        if not self.joined:
            return self._join(now)
        packets: list[Packet] = []
        if self._repair_at:
            self._repair(packets, now)
        if now >= self._idle_at:
            self._timed_out(packets, now)
        elif self._pass_due:
            self._request_pass(packets, now, timed_out=False)
        self._pass_due = False
        return packets

    def _check_silence(self, now: float) -> None:
        if self.joined and not self._filling and self._free <= 0:
            self._heard = now  # our disk is what we wait for
        if self.tuning.silence and now - self._heard > self.tuning.silence:
            limit = f"{self.tuning.silence:g}"
            raise ServerSilent(f"*** No messages from server after {limit} seconds, exiting")

    # -- joining ---------------------------------------------------------------------------------

    def _join(self, now: float) -> list[Packet]:
        if now < self._join_at:
            return []
        self._join_at = now + JOIN_INTERVAL
        self.counts.joins += 1
        return [Join2(self.client) if self._raw else Join(self.client)]

    def receive(self, packet: Packet, now: float) -> None:
        """Take a packet other than a block: a reply to our join, or what another client asks.

        Raises:
            TransferFailed: the server's blocks or chunks are of another size.

        """
        match packet:
            case Joined() if not self.joined and not self._raw:
                self._begin(packet.blocks * BLOCK_SIZE, now)
            case Joined2() if not self.joined and self._raw and packet.client == self.client:
                if (packet.chunk_blocks, packet.block_bytes) != (BLOCKS_PER_CHUNK, BLOCK_SIZE):
                    geometry = f"{packet.chunk_blocks}/{packet.block_bytes}"
                    raise TransferFailed(f"server's chunk/block size is {geometry}, not 1024/1024")
                self._begin(packet.size, now)
            case Ask() | AskPart() if self.joined:
                self._overhear(packet, now)
            case _:
                pass

    def _begin(self, size: int, now: float) -> None:
        blocks = -(-size // BLOCK_SIZE)
        if not 0 < blocks < _MOST_BLOCKS:
            return
        self.size, self.blocks = size, blocks
        self.chunks = -(-blocks // BLOCKS_PER_CHUNK)
        self.tuning = self.tuning.capped(self.chunks)
        shuffle = self._random.shuffle if self.tuning.randomize else None
        if self.tuning.ends_first:
            self._urgent = (0, self.chunks - 1) if self.chunks > 1 else (0,)
        self._order = ChunkOrder(self.chunks, shuffle, in_front=self._urgent)
        self._heard = now
        self._idle_at = now + TICK

    # -- blocks ----------------------------------------------------------------------------------

    def store(self, chunk: int, blocks: int, now: float) -> int:
        """Note the blocks of ``chunk`` in a map; return those of them that are to be kept."""
        if not 0 <= chunk < self.chunks:
            return 0
        self._heard = now
        self._back_off = 0
        if chunk != self._passing:
            self._passed(self._passing, now)
            self._passing = chunk
        filling = self._filling.get(chunk) or self._open(chunk, blocks, now)
        if filling is None:
            return 0
        fresh = blocks & filling.missing
        if fresh != blocks:
            self.counts.duplicate_block += (blocks & ~fresh).bit_count()
        if fresh:
            self._keep(chunk, filling, fresh, now)
        return fresh

    def _open(self, chunk: int, blocks: int, now: float) -> _Filling | None:
        """Give a chunk a buffer, if there is one."""
        if not self._order.is_unseen(chunk):
            self.counts.duplicate_chunk += blocks.bit_count()
            return None
        if not self._has_buffer_for(chunk) and not (blocks & 1 and self._recycle()):
            self.counts.no_free_chunks += blocks.bit_count()
            self._short_of_buffer.add(chunk)
            return None
        dubious = chunk in self._short_of_buffer
        self._short_of_buffer.discard(chunk)
        filling = _Filling(self.valid(chunk), self._asked_at.pop(chunk, now), dubious=dubious)
        self._order.open(chunk)
        self._filling[chunk] = filling
        return filling

    def _has_buffer_for(self, chunk: int) -> bool:
        """Whether there is a free buffer, beyond those kept for the first and the last chunk.

        Without these two no other is written, so that the others would keep their buffers.
        """
        kept = 0 if chunk in self._urgent else len(self._unseen_urgent())
        return self._free > kept

    def _recycle(self) -> bool:
        """Take the buffer of a chunk of which only the tail came: another starts here."""
        chunk = next((chunk for chunk, filling in self._filling.items() if filling.dubious), None)
        if chunk is None:
            return False
        del self._filling[chunk]
        self._repair_at.pop(chunk, None)
        self._order.put_back(chunk)
        self.counts.partial_drops += 1
        self._forget(chunk)
        return True

    def _keep(self, chunk: int, filling: _Filling, fresh: int, now: float) -> None:
        filling.missing ^= fresh
        filling.asked_at = now
        self._idle_at = now + self._idle_time()
        if not filling.missing:
            del self._filling[chunk]
            self._repair_at.pop(chunk, None)
            self._order.complete(chunk)
            self._full += 1
            self._pass_due = True
        elif not filling.missing >> fresh.bit_length():
            self._passed(chunk, now)

    def _passed(self, chunk: int, now: float) -> None:
        """Note that the server is done with ``chunk``: what is missing of it was lost."""
        filling = self._filling.get(chunk)
        if filling is not None:
            filling.asked = 0
            self._repair_at.setdefault(chunk, now + self._random.random() * REPAIR_DELAY)

    def written(self) -> None:
        """Note that one more full chunk is on the disk, and its buffer empty."""
        self._full -= 1
        self.chunks_written += 1
        self._pass_due = True

    # -- requests --------------------------------------------------------------------------------

    def _overhear(self, packet: Ask | AskPart, now: float) -> None:
        if packet.chunk >= self.chunks:
            return
        filling = self._filling.get(packet.chunk)
        if filling is not None:
            needed = packet.blocks & filling.missing
            filling.asked |= needed
            if needed:
                filling.asked_at = now
        else:
            valid = self.valid(packet.chunk)
            needed = self._order.is_unseen(packet.chunk) and packet.blocks & valid == valid
            if needed:
                self._asked_at[packet.chunk] = now
        if needed:
            self._idle_at = max(self._idle_at, now + self._idle_time())

    def _idle_time(self) -> float:
        return TICK * self.tuning.idle_ticks

    def _repair(self, packets: list[Packet], now: float) -> None:
        for chunk in [chunk for chunk, due in self._repair_at.items() if due <= now]:
            del self._repair_at[chunk]
            filling = self._filling[chunk]
            wanted = filling.missing & ~filling.asked
            if wanted:
                self._ask_part(packets, chunk, wanted, now)

    def _timed_out(self, packets: list[Packet], now: float) -> None:
        self.counts.idles += 1
        self._request_pass(packets, now, timed_out=True)
        spread = 1 + self._random.random()
        self._idle_at = now + TICK * self._back_off + self._idle_time() * spread
        self._back_off = min(max(2, self._back_off + 1), _LONGEST_BACK_OFF)

    def _request_pass(self, packets: list[Packet], now: float, *, timed_out: bool) -> None:
        for chunk, filling in self._filling.items():
            if timed_out or now - filling.asked_at >= self.tuning.redo:
                self._ask_part(packets, chunk, filling.missing, now)
        if self._free <= 0 or len(self._filling) >= self.tuning.in_progress:
            return
        for chunk in self._wanted():
            if timed_out or now - self._asked_at.get(chunk, _NEVER) >= self.tuning.redo:
                self._ask(packets, chunk, now)

    def _wanted(self) -> list[int]:
        if not self._sated:
            return self._order.next(min(self.tuning.read_ahead, self._free))
        return self._unseen_urgent()

    def _unseen_urgent(self) -> list[int]:
        return [chunk for chunk in self._urgent if self._order.is_unseen(chunk)]

    def _ask(self, packets: list[Packet], chunk: int, now: float) -> None:
        if chunk in self._ours:
            self.counts.full_repeats += 1
            self._count_part(self.valid(chunk))
            packets.append(AskPart(chunk, 1, self.valid(chunk)))
        else:
            packets.append(Ask(chunk, 0, self.valid(chunk).bit_length()))
        self.counts.requests += 1
        self._ours.add(chunk)
        self._asked_at[chunk] = now

    def _ask_part(self, packets: list[Packet], chunk: int, wanted: int, now: float) -> None:
        filling = self._filling[chunk]
        again = chunk in self._ours
        packets.append(AskPart(chunk, int(again), wanted))
        self._count_part(wanted)
        self.counts.requests += 1
        self.counts.repeated_requests += again
        self._ours.add(chunk)
        filling.asked |= wanted
        filling.asked_at = now
        filling.dubious = False

    def _count_part(self, wanted: int) -> None:
        self.counts.partial_requests += 1
        self.counts.lost_blocks += wanted.bit_count()
