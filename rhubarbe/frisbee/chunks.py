"""Where a client's chunks come together: buffers of 1 MiB, filled from trains of blocks.

A train as a rule continues the one before it, or begins a new chunk: it is received right where it
then belongs, and only its headers are looked at. One that was not the expected is moved.
"""

from collections.abc import Callable
from functools import cache
from struct import Struct

from rhubarbe.frisbee.multicast import LONGEST_TRAIN
from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    BLOCK_HEADER_BYTES,
    BLOCK_SIZE,
    CHUNK_SIZE,
    Parity,
)
from rhubarbe.frisbee.parity import exclusive_or
from rhubarbe.frisbee.receiving import Receiver
from rhubarbe.frisbee.trains import BlockHeaders, Row, Run, block_places, runs

_ANY = -1
_CHUNK_AND_BLOCK = Struct("<ii")
_PLACE = BLOCK_HEADER_BYTES - _CHUNK_AND_BLOCK.size


class ChunkBuffer:
    """1 MiB, and a view of each of its 1024 blocks."""

    __slots__ = ("blocks", "data")

    def __init__(self) -> None:
        self.data = memoryview(bytearray(CHUNK_SIZE))
        starts = range(0, CHUNK_SIZE, BLOCK_SIZE)
        self.blocks = [self.data[at : at + BLOCK_SIZE] for at in starts]


class ChunkBuffers:
    """One buffer for each chunk that is under way; those given back are used again."""

    def __init__(self) -> None:
        self._buffers: dict[int, ChunkBuffer] = {}
        self._spare: list[ChunkBuffer] = []

    def of(self, chunk: int) -> ChunkBuffer:
        """Return the buffer of ``chunk``; that of ``upcoming`` becomes its own if it has none."""
        buffer = self._buffers.get(chunk)
        if buffer is None:
            self._buffers[chunk] = buffer = self.upcoming()
            self._spare.pop()
        return buffer

    def upcoming(self) -> ChunkBuffer:
        """Return the buffer that the next chunk without one will get."""
        if not self._spare:
            self._spare.append(ChunkBuffer())
        return self._spare[-1]

    def release(self, chunk: int) -> None:
        """Take the buffer of ``chunk`` back, to be used after that which is ``upcoming``."""
        buffer = self._buffers.pop(chunk, None)
        if buffer is not None:
            self._spare.insert(0, buffer)


class LandingStrip:
    """Where the next train is received: ``room``, then ``landed`` or, if it was not, ``gather``."""

    def __init__(self, receiver: Receiver, buffers: ChunkBuffers) -> None:
        self._receiver = receiver
        self._buffers = buffers
        self._headers = bytearray(BLOCK_HEADER_BYTES * LONGEST_TRAIN)
        view, step = memoryview(self._headers), BLOCK_HEADER_BYTES
        self._header_views = [view[at : at + step] for at in range(0, len(view), step)]
        self._overflow = memoryview(bytearray(1 << 16))
        self._room: list[memoryview] = []
        self._source = b""
        self._expected = BlockHeaders(bytes(4))
        self._chunk, self._first, self._count = _ANY, 0, LONGEST_TRAIN

    def room(self) -> list[memoryview]:
        """Return buffers for the longest of trains; no block that has come is in them."""
        missing = self._receiver.missing(self._chunk) >> self._first
        count = min(missing.bit_length(), LONGEST_TRAIN)
        whole = (1 << count) - 1
        if count and missing & whole == whole:
            buffer = self._buffers.of(self._chunk)
        else:
            self._chunk, self._first, count = _ANY, 0, LONGEST_TRAIN
            buffer = self._buffers.upcoming()
        self._count = count
        self._room = [self._overflow] * (2 * count + 1)
        self._room[: 2 * count : 2] = self._header_views[:count]
        self._room[1 : 2 * count : 2] = buffer.blocks[self._first : self._first + count]
        return self._room

    def landed(self, length: int, source: bytes, now: float) -> list[int] | None:
        """Keep a train of ``length`` bytes that is the expected one; return what it completed.

        None when it is not, or not of BLOCK packets of ``source`` alone: then it is not kept.
        """
        count, rest = divmod(length, BLOCK_BYTES)
        chunk = int.from_bytes(self._headers[_PLACE : _PLACE + 4], "little")
        if rest or count > self._count or not self._is_expected(chunk):
            return None
        if source != self._source:
            self._source, self._expected = source, BlockHeaders(source)
        self._expected.choose(chunk)
        headers = self._headers[: count * BLOCK_HEADER_BYTES]
        if headers != self._expected.of(self._first, count):
            return None
        fresh = self._receiver.store(chunk, (1 << count) - 1 << self._first, now)
        if not fresh:
            return []
        self._buffers.of(chunk)
        self._chunk = chunk
        self._first += count
        return [chunk] if self._receiver.is_full(chunk) else []

    def _is_expected(self, chunk: int) -> bool:
        if self._chunk == _ANY:
            return self._receiver.is_unseen(chunk)
        return self._chunk == chunk

    def gather(self, length: int) -> memoryview:
        """Return the ``length`` bytes that were received, in one piece."""
        pieces = self._room[: 2 * -(-length // BLOCK_BYTES) + 1]
        return memoryview(b"".join(pieces)[:length])

    def expect_after(self, packet: memoryview) -> None:
        """Expect the blocks that follow that of a BLOCK packet."""
        self._chunk, block = _CHUNK_AND_BLOCK.unpack_from(packet, _PLACE)
        self._first = block + 1


def store_train(
    train: memoryview, source: bytes, receiver: Receiver, buffers: ChunkBuffers, now: float
) -> list[int] | None:
    """Store a train of BLOCK packets; return the chunks that it completed.

    None when not all of it is such packets of ``source``: then nothing is stored.
    """
    places = block_places(train, source)
    if places is None:
        return None

    def blocks_of(run: Run) -> bytes:
        packets = train[run.start * BLOCK_BYTES : (run.start + run.length) * BLOCK_BYTES]
        return b"".join(_data_of(run.length).unpack(packets))

    return _store(places, blocks_of, receiver, buffers, now)


def store_row(row: Row, receiver: Receiver, buffers: ChunkBuffers, now: float) -> list[int]:
    """Store a row of blocks; return the chunks that it completed."""

    def blocks_of(run: Run) -> memoryview:
        return row.data[run.start * BLOCK_SIZE : (run.start + run.length) * BLOCK_SIZE]

    return _store(row.places, blocks_of, receiver, buffers, now)


def store_parity(
    packet: Parity, receiver: Receiver, buffers: ChunkBuffers, now: float
) -> list[int]:
    """Store the only one of the combined blocks that is missing, if so; return as `store_row`."""
    chunk, left, blocks, data = packet
    missing = receiver.store_combined(chunk, blocks, left, now)
    if missing is None:
        return []
    kept = buffers.of(chunk).blocks
    kept[missing][:] = exclusive_or([data, *(kept[each] for each in blocks if each != missing)])
    return [chunk] if receiver.is_full(chunk) else []


def _store(
    places: list[int],
    blocks_of: Callable[[Run], bytes | memoryview],
    receiver: Receiver,
    buffers: ChunkBuffers,
    now: float,
) -> list[int]:
    """Store those of the blocks at these places that are wanted; return the chunks completed."""
    completed = []
    for run in runs(places):
        if fresh := receiver.store(run.chunk, run.blocks, now):
            _keep(run, blocks_of(run), fresh, buffers)
            if receiver.is_full(run.chunk):
                completed.append(run.chunk)
    return completed


def _keep(run: Run, data: bytes | memoryview, fresh: int, buffers: ChunkBuffers) -> None:
    """Put those blocks of a run that are ``fresh`` where they belong."""
    buffer = buffers.of(run.chunk)
    if fresh == run.blocks:
        start = run.first * BLOCK_SIZE
        buffer.data[start : start + len(data)] = data
        return
    for block in range(run.first, run.first + run.length):
        if fresh >> block & 1:
            at = (block - run.first) * BLOCK_SIZE
            buffer.blocks[block][:] = data[at : at + BLOCK_SIZE]


@cache
def _data_of(count: int) -> Struct:
    """Return what takes the data out of ``count`` BLOCK packets."""
    return Struct(f"{BLOCK_HEADER_BYTES}x{BLOCK_SIZE}s" * count)
