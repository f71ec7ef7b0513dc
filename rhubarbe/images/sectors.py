"""Reading here and there on the disk that an image holds, without unpacking all of it."""

import functools
import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rhubarbe.ndz.header import CHUNK, HEADER_AREA, SECTOR, ChunkHeader, parse_header
from rhubarbe.ndz.inflate import inflate

MOST_GPT_ENTRIES = 128
_MBR_TABLE = 446
_GPT = struct.Struct("<72xQII")
_GPT_TYPE = 0xEE


class DiskInside:
    """The disk in an image file; what the image leaves out reads as zeros.

    All that reads raises NdzError where a chunk is damaged, and OSError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._count = os.fstat(self._descriptor).st_size // CHUNK
        self._header = functools.lru_cache(maxsize=256)(self._read_header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def _read_header(self, place: int) -> ChunkHeader:
        return parse_header(os.pread(self._descriptor, HEADER_AREA, place * CHUNK), place)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from byte `offset` of the disk on."""
        first, end = offset // SECTOR, -(-(offset + length) // SECTOR)
        found = bytearray((end - first) * SECTOR)
        place = self._first_chunk(first)
        while place < self._count and self._header(place).first < end:
            self._copy(place, first, end, found)
            place += 1
        skip = offset - first * SECTOR
        return bytes(found[skip : skip + length])

    def _first_chunk(self, sector: int) -> int:
        """Return the first chunk whose covered range ends after the sector: they ascend."""
        low, high = 0, self._count
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
        chunk = os.pread(self._descriptor, CHUNK, place * CHUNK)
        at = 0
        for piece in inflate(chunk, self._header(place)):
            reach = at + len(piece)
            for start, size, there in wanted:
                low, high = max(start, at), min(start + size, reach)
                if low < high:
                    target = there + low - start
                    found[target : target + high - low] = piece[low - at : high - at]
            at = reach
            if at >= max(start + size for start, size, _ in wanted):
                return

    def partitions(self) -> Iterator[int]:
        """Yield where a filesystem may begin, in bytes: the partitions, then the disk itself."""
        sector = self.read(0, SECTOR)
        if sector[-2:] == b"\x55\xaa":
            for at in range(_MBR_TABLE, _MBR_TABLE + 64, 16):
                kind, start = sector[at + 4], int.from_bytes(sector[at + 8 : at + 12], "little")
                if kind == _GPT_TYPE:
                    yield from self._gpt()
                elif kind and start:
                    yield start * SECTOR
        yield 0

    def _gpt(self) -> Iterator[int]:
        header = self.read(SECTOR, SECTOR)
        table, count, size = _GPT.unpack_from(header)
        if not header.startswith(b"EFI PART") or not 128 <= size <= SECTOR:  # noqa: PLR2004 - as UEFI says
            return
        entries = self.read(table * SECTOR, min(count, MOST_GPT_ENTRIES) * size)
        for at in range(0, len(entries), size):
            if any(entries[at : at + 16]):
                yield int.from_bytes(entries[at + 32 : at + 40], "little") * SECTOR
