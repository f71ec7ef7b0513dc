"""Where a client's chunks come together: buffers of 1 MiB, filled from trains of blocks."""

from functools import cache
from struct import Struct

from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    BLOCK_HEADER_BYTES,
    BLOCK_SIZE,
    CHUNK_SIZE,
    block_places,
)
from rhubarbe.frisbee.receiving import Receiver

_CHUNK = 0xFFFFFFFF


class ChunkBuffers:
    """One buffer for each chunk that is under way; those given back are used again."""

    def __init__(self) -> None:
        self._buffers: dict[int, bytearray] = {}
        self._spare: list[bytearray] = []

    def of(self, chunk: int) -> bytearray:
        """Return the buffer of ``chunk``, a new one if it has none."""
        buffer = self._buffers.get(chunk)
        if buffer is None:
            buffer = self._spare.pop() if self._spare else bytearray(CHUNK_SIZE)
            self._buffers[chunk] = buffer
        return buffer

    def release(self, chunk: int) -> None:
        """Take the buffer of ``chunk`` back."""
        buffer = self._buffers.pop(chunk, None)
        if buffer is not None:
            self._spare.append(buffer)


def store_train(
    train: memoryview, source: bytes, receiver: Receiver, buffers: ChunkBuffers, now: float
) -> list[int] | None:
    """Store a train of BLOCK packets; return the chunks that it completed.

    None when not all of it is such packets of ``source``: then nothing is stored.
    """
    places = block_places(train, source)
    if places is None:
        return None
    completed = []
    start = 0
    while start < len(places):
        chunk = places[start] & _CHUNK
        end = _end_of_run(places, start)
        run = train[start * BLOCK_BYTES : end * BLOCK_BYTES]
        if _store_run(chunk, places[start] >> 32, run, receiver, buffers, now):
            completed.append(chunk)
        start = end
    return completed


def _end_of_run(places: list[int], start: int) -> int:
    """Return where the run of consecutive blocks of one chunk that begins at ``start`` ends."""
    first, length = places[start], len(places) - start
    whole = range(first, first + (length << 32), 1 << 32)
    if places[-1] == whole[-1] and places[start:] == list(whole):  # as a rule it is all of them
        return len(places)
    end = start + 1
    while end < len(places) and places[end] == first + (end - start << 32):
        end += 1
    return end


def _store_run(
    chunk: int, first: int, run: memoryview, receiver: Receiver, buffers: ChunkBuffers, now: float
) -> bool:
    """Store consecutive blocks of one chunk from ``first`` on; true when that completed it."""
    count = len(run) // BLOCK_BYTES
    wanted = (1 << count) - 1 << first
    fresh = receiver.store(chunk, wanted, now)
    if not fresh:
        return False
    buffer = buffers.of(chunk)
    data = _data_of(count).unpack(run)
    if fresh == wanted:
        buffer[first * BLOCK_SIZE : (first + count) * BLOCK_SIZE] = b"".join(data)
    else:
        for block, piece in enumerate(data, first):
            if fresh >> block & 1:
                buffer[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE] = piece
    return receiver.is_full(chunk)


@cache
def _data_of(count: int) -> Struct:
    """Return what takes the data out of ``count`` BLOCK packets."""
    return Struct(f"{BLOCK_HEADER_BYTES}x{BLOCK_SIZE}s" * count)
