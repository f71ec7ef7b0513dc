"""Trains: BLOCK packets end to end, as one system call sends or receives them.

What is done for a train is done for all its packets at once, so that it costs little a block.
"""

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from operator import or_
from typing import NamedTuple

from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    BLOCK_HEADER_BYTES,
    BLOCK_SIZE,
    BLOCKS_PER_CHUNK,
    Block,
    encode,
)

_CHUNK = 0xFFFFFFFF  # of a place
NO_PLACE = ~(BLOCKS_PER_CHUNK - 1 << 32 | 0x7FFFFFFF)  # bits that no chunk and block have
_CHUNK_FIELD, _BLOCK_FIELD = 4, 5  # of a packet, in words of 4 bytes


def _first_header(source: bytes) -> bytes:
    """Return the header of block 0 of chunk 0."""
    return encode(Block(0, 0, bytes(BLOCK_SIZE)), source)[:BLOCK_HEADER_BYTES]


class BlockSigns(NamedTuple):
    """What the headers of all BLOCK packets of one source have in common: their first words."""

    kind: int
    length_and_source: int


@lru_cache(maxsize=8)
def block_signs(source: bytes) -> BlockSigns:
    """Return what the BLOCK packets of ``source`` have in common."""
    kind, length_and_source, _ = memoryview(_first_header(source)).cast("Q")
    return BlockSigns(kind, length_and_source)


def header_columns(data: memoryview, step: int) -> tuple[list[int], list[int], list[int]]:
    """Return the kinds, the lengths and sources, and the places of headers ``step`` bytes apart."""
    words = data.cast("Q")
    kinds, sources, places = (words[at :: step // 8].tolist() for at in range(3))
    return kinds, sources, places


def block_places(train: memoryview, source: bytes) -> list[int] | None:
    """Return chunk + (block << 32) of each datagram in ``train``: BLOCK packets, end to end.

    None when any of them is something else, is a block that no chunk has, or does not say that
    ``source`` sent it.
    """
    signs, count = block_signs(source), len(train) // BLOCK_BYTES
    kinds, sources, places = header_columns(train, BLOCK_BYTES)
    if kinds != [signs.kind] * count or sources != [signs.length_and_source] * count:
        return None
    if reduce(or_, places, 0) & NO_PLACE:
        return None
    return places


class Row(NamedTuple):
    """Blocks end to end, in ``data``, and chunk + (block << 32) of each, in ``places``."""

    data: memoryview
    places: list[int]


class Run(NamedTuple):
    """Consecutive blocks of one chunk, from ``first`` on: those from the ``start``-th that came."""

    chunk: int
    first: int
    length: int
    start: int

    @property
    def blocks(self) -> int:
        """Map of the blocks."""
        return (1 << self.length) - 1 << self.first


def runs(places: list[int]) -> Iterator[Run]:
    """Yield the runs of consecutive blocks, of which chunk + (block << 32) are given in turn."""
    start = 0
    while start < len(places):
        end = _end_of_run(places, start)
        yield Run(places[start] & _CHUNK, places[start] >> 32, end - start, start)
        start = end


def _end_of_run(places: list[int], start: int) -> int:
    """Return where the run that begins at ``start`` ends."""
    first, length = places[start], len(places) - start
    whole = range(first, first + (length << 32), 1 << 32)
    if places[-1] == whole[-1] and places[start:] == list(whole):  # as a rule it is all of them
        return len(places)
    end = start + 1
    while end < len(places) and places[end] == first + (end - start << 32):
        end += 1
    return end


class _ChunkOfPackets:
    """Room for ``step`` bytes of each BLOCK packet of a chunk, with the headers written."""

    def __init__(self, source: bytes, step: int) -> None:
        self._flat = bytearray(_first_header(source).ljust(step, b"\0") * BLOCKS_PER_CHUNK)
        words = memoryview(self._flat).cast("I")
        blocks = array("I", range(BLOCKS_PER_CHUNK))
        words[_BLOCK_FIELD :: step // 4] = memoryview(blocks)
        self._chunks = words[_CHUNK_FIELD :: step // 4]
        self.chunk = 0

    def choose(self, chunk: int) -> None:
        """Make the headers those of ``chunk``."""
        if chunk != self.chunk:
            self._chunks[:] = memoryview(array("I", [chunk]) * BLOCKS_PER_CHUNK)
            self.chunk = chunk


class BlockHeaders(_ChunkOfPackets):
    """The 24-byte headers of the 1024 blocks of a chunk, made for one chunk after the other."""

    def __init__(self, source: bytes) -> None:
        super().__init__(source, BLOCK_HEADER_BYTES)

    def of(self, first: int, count: int) -> bytearray:
        """Return the headers of ``count`` blocks from ``first`` on, end to end."""
        return self._flat[first * BLOCK_HEADER_BYTES : (first + count) * BLOCK_HEADER_BYTES]


class BlockPackets(_ChunkOfPackets):
    """The 1024 BLOCK packets of a chunk end to end, for one chunk after the other.

    ``data[b]`` is where the 1024 bytes of block b belong: a file is read right into them.
    """

    def __init__(self, source: bytes) -> None:
        super().__init__(source, BLOCK_BYTES)
        self._view = memoryview(self._flat)
        starts = range(BLOCK_HEADER_BYTES, len(self._flat), BLOCK_BYTES)
        self.data = [self._view[at : at + BLOCK_SIZE] for at in starts]

    def runs(self, blocks: Sequence[int]) -> list[memoryview]:
        """Return the packets of ``blocks``, ascending, as one view a run of consecutive ones."""
        first, last = blocks[0], blocks[-1]
        if last - first == len(blocks) - 1:
            return [self._view[first * BLOCK_BYTES : (last + 1) * BLOCK_BYTES]]
        return [self._view[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] for block in blocks]
