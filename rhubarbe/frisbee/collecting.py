"""Which blocks of a file have come: maps of them, never the blocks themselves."""

from array import array
from collections.abc import Callable, Container

from rhubarbe.frisbee.ordering import ChunkOrder
from rhubarbe.frisbee.packets import BLOCKS_PER_CHUNK, WHOLE_CHUNK
from rhubarbe.frisbee.tuning import Counts, Tuning


class Filling:
    """A chunk that has a buffer: what is missing, what of it somebody has asked for, and when."""

    __slots__ = ("asked", "asked_at", "dubious", "missing")

    def __init__(self, missing: int, asked_at: float, *, dubious: bool) -> None:
        self.missing = missing
        self.asked = 0
        self.asked_at = asked_at
        self.dubious = dubious


class Collection:
    """The chunks of a file of so many blocks, in as many buffers as ``tuning`` allows.

    Each is unseen, then filling, then full, then written, which frees its buffer; or rejected, and
    unseen again. ``forget`` is called for one that is filling when its buffer goes to another.
    """

    def __init__(
        self,
        blocks: int,
        tuning: Tuning,
        counts: Counts,
        forget: Callable[[int], None],
        shuffle: Callable[["array[int]"], None],
    ) -> None:
        self.blocks = blocks
        self.chunks = -(-blocks // BLOCKS_PER_CHUNK)
        self.tuning = tuning = tuning.capped(self.chunks)
        self.filling: dict[int, Filling] = {}
        self.full = self.written = 0
        self._counts = counts
        self._forget = forget
        self._urgent: tuple[int, ...] = ()
        if tuning.ends_first and self.chunks:
            self._urgent = (0, self.chunks - 1) if self.chunks > 1 else (0,)
        order = shuffle if tuning.randomize else None
        self._order = ChunkOrder(self.chunks, order, in_front=self._urgent)
        self._short_of_buffer: set[int] = set()

    # -- what has come ---------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Whether every chunk has come, whether or not it is on the disk."""
        return self.written + self.full == self.chunks

    @property
    def free(self) -> int:
        """How many buffers are free."""
        return self.tuning.buffers - len(self.filling) - self.full

    @property
    def waits_for_disk(self) -> bool:
        """Whether nothing can come before the disk has taken something, or nothing is lacking."""
        return self.is_complete or (not self.filling and self.free <= 0)

    @property
    def _sated(self) -> bool:
        """Whether enough waits for the disk; the other buffers are kept for others' requests."""
        return self.full >= max(2, self.tuning.buffers // 8)

    def valid(self, chunk: int) -> int:
        """Map of the blocks that ``chunk`` has: all but in a short last chunk."""
        if chunk < self.chunks - 1:
            return WHOLE_CHUNK
        return (1 << (self.blocks - chunk * BLOCKS_PER_CHUNK)) - 1

    def is_unseen(self, chunk: int) -> bool:
        """Whether ``chunk`` is one of the file's, and has no buffer yet."""
        return chunk < self.chunks and self._order.is_unseen(chunk)

    def is_full(self, chunk: int) -> bool:
        """Whether all the blocks of ``chunk`` have come."""
        return self._order.is_full(chunk)

    # -- blocks ----------------------------------------------------------------------------------

    def open(self, chunk: int, blocks: int, now: float) -> Filling | None:
        """Give a chunk a buffer, if there is one, since ``blocks`` of it have come."""
        if not self._order.is_unseen(chunk):
            self._counts.duplicate_chunk += blocks.bit_count()
            return None
        if not self._has_buffer_for(chunk) and not (blocks & 1 and self._recycle()):
            self._counts.no_free_chunks += blocks.bit_count()
            self._short_of_buffer.add(chunk)
            return None
        dubious = chunk in self._short_of_buffer
        self._short_of_buffer.discard(chunk)
        filling = Filling(self.valid(chunk), now, dubious=dubious)
        self._order.open(chunk)
        self.filling[chunk] = filling
        return filling

    def _has_buffer_for(self, chunk: int) -> bool:
        """Whether there is a free buffer, beyond those kept for the first and the last chunk.

        Without these two no other is written, so that the others would keep their buffers.
        """
        kept = 0 if chunk in self._urgent else len(self._unseen_urgent())
        return self.free > kept

    def _recycle(self) -> bool:
        """Take the buffer of a chunk of which only the tail came: another starts here."""
        chunk = next((chunk for chunk, filling in self.filling.items() if filling.dubious), None)
        if chunk is None:
            return False
        self._drop(chunk)
        return True

    def _drop(self, chunk: int) -> None:
        del self.filling[chunk]
        self._order.put_back(chunk)
        self._counts.partial_drops += 1
        self._forget(chunk)

    def drop_all(self) -> None:
        """Take the buffers away from all chunks that are filling."""
        for chunk in list(self.filling):
            self._drop(chunk)

    def complete(self, chunk: int) -> None:
        """Note that all of a chunk that was filling has come."""
        del self.filling[chunk]
        self._order.complete(chunk)
        self.full += 1

    def reject(self, chunk: int) -> None:
        """Note that a full chunk was not what it should be, and that its buffer is free."""
        self.full -= 1
        self._order.put_back(chunk)

    # -- what is lacking -------------------------------------------------------------------------

    def wanted(self, skip: Container[int]) -> list[int]:
        """Return the chunks to be asked for now but those to ``skip``, most wanted first."""
        if not self._sated:
            return self._order.next(min(self.tuning.read_ahead, self.free), skip)
        return [chunk for chunk in self._unseen_urgent() if chunk not in skip]

    def _unseen_urgent(self) -> list[int]:
        return [chunk for chunk in self._urgent if self._order.is_unseen(chunk)]
