"""Reading here and there on the disk that an image holds, without unpacking all of it."""

import functools
import os
import time
from typing import Self

from rhubarbe.ndz.header import SECTOR, ChunkHeader, parse_header
from rhubarbe.ndz.inflate import inflate
from rhubarbe.ndz.mark import sector_size
from rhubarbe.ndz.rows import ChunkRow

LARGE_SECTOR = 4096


class Deadline:
    """When looking into an image is given up: after so many seconds, or when a thread says so."""

    def __init__(self, seconds: float = 20.0) -> None:
        self._until = time.monotonic() + seconds

    def end(self) -> None:
        """Have whoever reads give up at its next check."""
        self._until = 0.0

    def check(self) -> None:
        """Raise TimeoutError once it has passed."""
        if time.monotonic() > self._until:
            raise TimeoutError("it takes too long to look into")


class DiskInside:
    """The disk in an image file; what the image leaves out reads as zeros.

    All that reads raises NdzError where a chunk is damaged, and OSError, also once the deadline has
    passed: a megabyte of image may inflate to a thousand.
    """

    def __init__(self, path: str | os.PathLike[str], deadline: Deadline | None = None) -> None:
        self._deadline = deadline or Deadline()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._row = ChunkRow.of(self._descriptor)
        self._header = functools.lru_cache(maxsize=256)(self._read_header)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _read_header(self, place: int) -> ChunkHeader:
        return parse_header(self._row.header_area(place), place)

    @property
    def size(self) -> int:
        """How long the disk is, in bytes, as far as the image tells of it."""
        return self._header(self._row.count - 1).last * SECTOR if self._row.count else 0

    def sector_sizes(self) -> list[int]:
        """Return what the sizes of the disk's logical sectors may be, in bytes, likeliest first.

        A seal says it; of a disk in a file it tells what was guessed.
        """
        sealed = sector_size(self._row.header_area(0)) or SECTOR
        return list(dict.fromkeys((sealed, SECTOR, LARGE_SECTOR)))

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from byte `offset` of the disk on."""
        first, end = offset // SECTOR, -(-(offset + length) // SECTOR)
        found = bytearray((end - first) * SECTOR)
        self._deadline.check()
        place = self._first_chunk(first)
        while place < self._row.count and self._header(place).first < end:
            self._copy(place, first, end, found)
            place += 1
        skip = offset - first * SECTOR
        return bytes(found[skip : skip + length])

    def _first_chunk(self, sector: int) -> int:
        """Return the first chunk whose covered range ends after the sector: they ascend."""
        low, high = 0, self._row.count
        while low < high:
            middle = (low + high) // 2
            if self._header(middle).last > sector:
                high = middle
            else:
                low = middle + 1
        return low

    def _copy(self, place: int, first: int, end: int, found: bytearray) -> None:
        """Copy what the chunk stores of the sectors from `first` to `end`."""
        wanted: list[tuple[int, int, int]] = []  # from here in the stream, so much, to there
        position = 0
        for region in self._header(place).regions:
            low, high = max(region.start, first), min(region.end, end)
            if low < high:
                start = position + (low - region.start) * SECTOR
                wanted.append((start, (high - low) * SECTOR, (low - first) * SECTOR))
            position += region.size * SECTOR
        if wanted:
            self._inflate(place, wanted, found)

    def _inflate(self, place: int, wanted: list[tuple[int, int, int]], found: bytearray) -> None:
        chunk = self._row.read(place)
        at = 0
        for piece in inflate(chunk, self._header(place)):
            reach = at + len(piece)
            for start, size, there in wanted:
                low, high = max(start, at), min(start + size, reach)
                if low < high:
                    target = there + low - start
                    found[target : target + high - low] = piece[low - at : high - at]
            at = reach
            self._deadline.check()
            if at >= max(start + size for start, size, _ in wanted):
                return
