"""Where a client's chunks come together: buffers of 1 MiB, filled from trains of blocks."""

from itertools import compress

from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    BLOCK_HEADER_BYTES,
    BLOCK_SIZE,
    CHUNK_SIZE,
    block_places,
)
from rhubarbe.frisbee.receiving import Receiver


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
        chunk = places[start][0]
        end = start + 1
        while end < len(places) and places[end][0] == chunk:
            end += 1
        blocks = [block for _, block in places[start:end]]
        run = train[start * BLOCK_BYTES : end * BLOCK_BYTES]
        if _store_run(chunk, blocks, run, receiver, buffers, now):
            completed.append(chunk)
        start = end
    return completed


def _store_run(
    chunk: int,
    blocks: list[int],
    run: memoryview,
    receiver: Receiver,
    buffers: ChunkBuffers,
    now: float,
) -> bool:
    """Store blocks of one chunk; true when that completed it."""
    first, count = blocks[0], len(blocks)
    in_order = blocks == list(range(first, first + count))
    wanted = (1 << count) - 1 << first if in_order else _as_map(blocks)
    fresh = receiver.store(chunk, wanted, now)
    if not fresh:
        return False
    buffer = memoryview(buffers.of(chunk))
    if not in_order or fresh != wanted:
        keep = [fresh >> block & 1 for block in blocks]
        starts = list(compress(range(0, len(run), BLOCK_BYTES), keep))
        blocks = list(compress(blocks, keep))
    else:
        starts = list(range(0, len(run), BLOCK_BYTES))
    for block, start in zip(blocks, starts, strict=True):
        at = block * BLOCK_SIZE
        buffer[at : at + BLOCK_SIZE] = run[start + BLOCK_HEADER_BYTES : start + BLOCK_BYTES]
    return receiver.is_full(chunk)


def _as_map(blocks: list[int]) -> int:
    wanted = 0
    for block in blocks:
        wanted |= 1 << block
    return wanted
