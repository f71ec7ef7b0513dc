"""The client as a state machine: packets and time in; requests, and which blocks to keep, out.

It keeps maps of blocks, never the blocks themselves. Beyond the timers of the original, it uses
that a server finishes with one chunk before it turns to the next: then what is missing of the
former is lost, and is asked for again after a short random delay, unless another client asked for
the same blocks meanwhile. What others ask for can put off what we ask for, but not for long:
anybody can ask.
"""

import random
from collections.abc import Callable, Sequence

from rhubarbe.frisbee.asking import Asking, Resting
from rhubarbe.frisbee.collecting import Collection, Filling
from rhubarbe.frisbee.crowd import Crowd
from rhubarbe.frisbee.joining import Joining
from rhubarbe.frisbee.packets import BLOCK_SIZE, Ask, AskPart, Joined, Joined2, Packet
from rhubarbe.frisbee.parity import TELL_WITHIN_S, lacking_one
from rhubarbe.frisbee.silence import Silence
from rhubarbe.frisbee.tuning import Counts, Tuning

TICK = 0.03  # seconds; the original's time-out for receiving, the unit in which it counts idleness
REPAIR_DELAY = 0.02  # seconds
_LONGEST_BACK_OFF = 33
_REST_IS_LOST_S = 0.05  # after which the other combined blocks of a chunk do not come any more
_PATIENCE_S = 0.1  # for which it asks for nothing while there is more to be received


class Receiver:
    """Fetches one file. ``forget`` is called for a chunk whose buffer was given to another.

    Drive it so: ``poll`` at ``deadline`` and after each batch of packets, and send what it returns
    (``more`` tells it that others have come which it was not given yet);
    ``receive`` each packet but blocks; ``store`` the blocks of each train, keep those it returns;
    when a chunk's buffer is free again, ``written``, or ``reject`` if the chunk was not what it
    should be; until ``finished``. ``chunks``, unless 0, is how many chunks the file must have.
    """

    def __init__(
        self,
        client: int,
        tuning: Tuning,
        *,
        now: float,
        raw: bool = False,
        chunks: int = 0,
        forget: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.client = client
        self.counts = Counts()
        self.size = 0
        self._tuning = tuning
        self._forget = forget
        self._random = random.Random(client)  # noqa: S311 - spreads requests, keeps no secret
        self._joining = Joining(client, now=now, raw=raw, chunks=chunks)
        self._silence = Silence(tuning.silence, now=now, proves=chunks > 0)
        self._all = Collection(0, tuning, self.counts, self._recycled, self._random.shuffle)
        self._idle_at = self._latest_idle = now
        self._back_off = 0
        self._pass_due = False
        self._behind_since = float("inf")
        self._asking = Asking(self.counts)
        self._crowd = Crowd()
        self._resting = Resting(self._random, tuning.silence)
        self._repair_at: dict[int, float] = {}
        self._passing = -1
        self._combines = False  # the server, which then is to know all that each client lacks

    # -- what the outside asks -------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        """Whether a server has told the size of the file."""
        return self.size > 0

    @property
    def finished(self) -> bool:
        """Whether every chunk is on the disk."""
        return self.joined and self._all.written == self._all.chunks

    @property
    def has_all(self) -> bool:
        """Whether every chunk has come, whether or not it is on the disk."""
        return self.joined and self._all.is_complete

    @property
    def tuning(self) -> Tuning:
        """How eager it is, fitted to the file once that is known."""
        return self._all.tuning if self.joined else self._tuning

    @property
    def blocks(self) -> int:
        """How many blocks the file has."""
        return self._all.blocks

    @property
    def chunks(self) -> int:
        """How many chunks the file has."""
        return self._all.chunks

    def valid(self, chunk: int) -> int:
        """Map of the blocks that ``chunk`` has: all but in a short last chunk."""
        return self._all.valid(chunk)

    def is_unseen(self, chunk: int) -> bool:
        """Whether ``chunk`` is one of the file's, and has no buffer yet."""
        return self._all.is_unseen(chunk)

    def missing(self, chunk: int) -> int:
        """Map of the blocks that ``chunk`` still lacks; 0 where it has no buffer."""
        filling = self._all.filling.get(chunk)
        return filling.missing if filling else 0

    def is_full(self, chunk: int) -> bool:
        """Whether all the blocks of ``chunk`` have come."""
        return self._all.is_full(chunk)

    def deadline(self) -> float:
        """When ``poll`` has something to do if nothing arrives until then."""
        if self._pass_due:
            return 0.0
        due = self._idle_at if self.joined else self._joining.due
        return min([due, *self._repair_at.values(), *self._resting.until.values()])

    def poll(self, now: float, *, more: bool = False) -> list[Packet]:
        """Return what is to be sent now.

        While there is ``more`` to be received, what it lacks may be there, a reply to its JOIN, or
        what others asked for: then it waits, but not for long, since there may always be more.

        Raises:
            ServerSilent: nothing came from the server, or nothing right, for longer than the limit.

        """
        self._silence.check(now, is_ours=self.joined and self._all.waits_for_disk)
        if self._is_behind(now, more=more):
            return []
        if not self.joined:
            packets = self._joining.poll(now)
            self.counts.joins += len(packets)
            return packets
        packets = []
        if self._resting.wake(now):
            self._pass_due = True
        if self._repair_at:
            self._repair(packets, now)
        if now >= self._idle_at:
            self._timed_out(packets, now)
        elif self._pass_due:
            self._request_pass(packets, now, timed_out=False)
        self._pass_due = False
        return packets

    def _is_behind(self, now: float, *, more: bool) -> bool:
        self._behind_since = min(self._behind_since, now) if more else float("inf")
        if now - self._behind_since >= _PATIENCE_S:
            self._behind_since = now
            return False
        return more

    # -- joining, and other clients --------------------------------------------------------------

    def misses(self) -> None:
        """Note that blocks came before it has joined, so that they are lost."""
        self._joining.misses()

    def receive(self, packet: Packet, now: float, address: str = "") -> None:
        """Take a packet other than a block: a reply to our join, or what a client there asks.

        Raises:
            TransferFailed: the server's blocks or chunks are of another size.

        """
        match packet:
            case Joined() | Joined2() if not self.joined:
                size = self._joining.size(packet)
                if size:
                    self._begin(size, now)
                    self._combines = packet.parity
            case Joined() | Joined2():
                self._combines = packet.parity
            case Ask() | AskPart() if self.joined:
                self._crowd.heard(address, now)
                self._overhear(packet, now)
            case _:
                pass

    def refuses(self, reply: Joined | Joined2) -> bool:
        """Whether a reply that would be for us tells of another file than ours."""
        return self._joining.refuses(reply)

    def _begin(self, size: int, now: float) -> None:
        blocks, shuffle = -(-size // BLOCK_SIZE), self._random.shuffle
        self.size = size
        self._all = Collection(blocks, self._tuning, self.counts, self._recycled, shuffle)
        self._silence.heard(now)
        self._idle_at = self._latest_idle = now + TICK

    def _overhear(self, packet: Ask | AskPart, now: float) -> None:
        if packet.chunk >= self.chunks:
            return
        filling = self._all.filling.get(packet.chunk)
        if filling is not None:
            needed = packet.blocks & filling.missing
            if needed and not self._combines:
                filling.asked |= needed
                filling.asked_at = now
        else:
            valid = self.valid(packet.chunk)
            needed = self.is_unseen(packet.chunk) and packet.blocks & valid == valid
            if needed:
                self._asking.overheard(packet.chunk, now)
        if needed:
            idle_at = min(now + self._idle_time(), self._latest_idle)
            self._idle_at = max(self._idle_at, idle_at)

    # -- blocks ----------------------------------------------------------------------------------

    def store(self, chunk: int, blocks: int, now: float) -> int:
        """Note the blocks of ``chunk`` in a map; return those of them that are to be kept."""
        if not 0 <= chunk < self.chunks:
            return 0
        self._comes(chunk, now)
        filling = self._all.filling.get(chunk) or self._open(chunk, blocks, now)
        if filling is None:
            return 0
        fresh = blocks & filling.missing
        if fresh != blocks:
            self.counts.duplicate_block += (blocks & ~fresh).bit_count()
        if fresh:
            self._keep(chunk, filling, fresh, now)
        return fresh

    def store_combined(
        self, chunk: int, blocks: Sequence[int], left: int, now: float
    ) -> int | None:
        """Note combined blocks, after which ``left`` more of the chunk are to come.

        Return the only one of them that it lacks, which is to be kept; None where there is none.
        """
        filling = self._all.filling.get(chunk)
        if chunk >= self.chunks or blocks[-1] >= self.valid(chunk).bit_length():
            return None
        self._comes(chunk, now)
        if filling is None:
            return None
        block = lacking_one(blocks, filling.missing)
        if block is not None:
            self._keep(chunk, filling, 1 << block, now)
        if filling.missing and left:
            filling.asked = 0  # if the others are lost, it is asked for again
            until = self._resting.until.get(chunk, now)
            self._repair_at[chunk] = max(now + _REST_IS_LOST_S, until)
        elif filling.missing:
            self._repair_at.pop(chunk, None)
            self._passed(chunk, now)
        return block

    def _comes(self, chunk: int, now: float) -> None:
        """Note that the server sends of a chunk, and so is done with the one before."""
        self._silence.heard(now)
        if chunk != self._passing:
            self._passed(self._passing, now)
            self._passing = chunk

    def _open(self, chunk: int, blocks: int, now: float) -> Filling | None:
        filling = self._all.open(chunk, blocks, now)
        if filling is not None:
            self._asking.opened(chunk)
        return filling

    def _recycled(self, chunk: int) -> None:
        self._repair_at.pop(chunk, None)
        self._forget(chunk)

    def _keep(self, chunk: int, filling: Filling, fresh: int, now: float) -> None:
        filling.missing ^= fresh
        filling.asked_at = now
        self._back_off = 0
        self._idle_at = now + self._idle_time()
        self._latest_idle = self._idle_at + self._redo()
        if not filling.missing:
            self._repair_at.pop(chunk, None)
            self._all.complete(chunk)
            self._pass_due = True
        elif not filling.missing >> fresh.bit_length():
            self._passed(chunk, now)

    def _passed(self, chunk: int, now: float) -> None:
        """Note that the server is done with ``chunk``: what is missing of it was lost."""
        filling = self._all.filling.get(chunk)
        if filling is not None:
            filling.asked = 0
            due = max(now, self._resting.until.get(chunk, now))
            longest = REPAIR_DELAY * self._crowd.stretch
            if self._combines:  # no request of another's spares us our own
                longest = TELL_WITHIN_S
            self._repair_at.setdefault(chunk, due + self._random.random() * longest)

    def written(self, now: float) -> None:
        """Note that one more full chunk is on the disk, and that its buffer is free."""
        self._all.full -= 1
        self._all.written += 1
        self._silence.proven(now)
        self._resting.accept()
        self._pass_due = True

    def reject(self, chunk: int, now: float) -> None:
        """Note that a full chunk was not what it should be, and that its buffer is free."""
        self._all.reject(chunk)
        self.counts.rejections += 1
        self._silence.doubted(now)
        self._resting.reject(chunk, now)
        self._pass_due = True

    def start_over(self) -> None:
        """Forget what has come of chunks that are not full: it was from the wrong server."""
        self._all.drop_all()
        self._pass_due = True

    # -- requests --------------------------------------------------------------------------------

    def _idle_time(self) -> float:
        longer = 1 + (self._crowd.stretch - 1) * self._random.random()
        return TICK * self.tuning.idle_ticks * longer

    def _redo(self) -> float:
        return self.tuning.redo * self._crowd.stretch

    def _repair(self, packets: list[Packet], now: float) -> None:
        for chunk in [chunk for chunk, due in self._repair_at.items() if due <= now]:
            del self._repair_at[chunk]
            filling = self._all.filling[chunk]
            wanted = filling.missing & ~filling.asked
            if wanted:
                packets.append(self._asking.part(chunk, filling, wanted, now))

    def _timed_out(self, packets: list[Packet], now: float) -> None:
        self.counts.idles += 1
        self._request_pass(packets, now, timed_out=True)
        spread = 1 + self._random.random()
        self._idle_at = now + TICK * self._back_off + self._idle_time() * spread
        self._latest_idle = self._idle_at + self._redo()
        longest = int(_LONGEST_BACK_OFF * self._crowd.stretch)
        self._back_off = min(max(2, self._back_off + 1), longest)

    def _request_pass(self, packets: list[Packet], now: float, *, timed_out: bool) -> None:
        redo, resting = self._redo(), self._resting.until
        for chunk, filling in self._all.filling.items():
            if (timed_out or now - filling.asked_at >= redo) and chunk not in resting:
                packets.append(self._asking.part(chunk, filling, filling.missing, now))
        if self._all.free <= 0 or len(self._all.filling) >= self.tuning.in_progress:
            return
        for chunk in self._all.wanted(resting):
            if timed_out or now - self._asking.asked_at(chunk) >= redo:
                packets.append(self._asking.whole(chunk, self.valid(chunk), now))
