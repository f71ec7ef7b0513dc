"""The input of an image: a disk or a file, read in any order, or a stream."""

import errno
import os
import stat
from typing import Self

from rhubarbe.imaging.devices import disks_here
from rhubarbe.imaging.errors import SourceError
from rhubarbe.ndz.header import SECTOR, Region
from rhubarbe.ndz.rows import fill

STDIN = "-"
_RETRIES = 3
_SCAN = 1 << 20


class Source:
    """An open input; `size` is in bytes, 0 for a stream.

    Where `replaces_errors`, a sector that cannot be read is tried again, then taken as zeros.
    """

    def __init__(self, path: str, *, replaces_errors: bool = False) -> None:
        self.name = "standard input" if path == STDIN else path
        self.descriptor = os.dup(0) if path == STDIN else _open(path)
        self._replaces_errors = replaces_errors
        mode = os.fstat(self.descriptor).st_mode
        if stat.S_ISDIR(mode):
            os.close(self.descriptor)
            raise SourceError(f"{self.name}: is a directory")
        if stat.S_ISCHR(mode):  # some of which never end
            os.close(self.descriptor)
            raise SourceError(f"{self.name}: a character device is no disk; {disks_here()}")
        self.is_stream = not (stat.S_ISREG(mode) or stat.S_ISBLK(mode))
        self._has_holes = stat.S_ISREG(mode)
        if at := 0 if self.is_stream else os.lseek(self.descriptor, 0, os.SEEK_CUR):
            os.close(self.descriptor)
            raise SourceError(f"{self.name}: a disk is read from its start, not from byte {at} on")
        self.size = 0 if self.is_stream else os.lseek(self.descriptor, 0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    @property
    def sectors(self) -> int:
        """Number of sectors, the last of which may be incomplete."""
        return -(-self.size // SECTOR)

    def require_whole(self) -> None:
        """Raise SourceError where the input became shorter: what was read there were no data."""
        if self.is_stream or (end := os.lseek(self.descriptor, 0, os.SEEK_END)) >= self.size:
            return
        raise SourceError(f"{self.name}: became shorter meanwhile: {end} bytes, not {self.size}")

    def read_at(self, offset: int, count: int) -> bytes:
        """Return so many bytes, fewer at the end of the disk; raise SourceError."""
        try:
            return os.pread(self.descriptor, count, offset)
        except OSError as error:
            raise self._error(offset, error) from error

    def read_sectors(self, extents: tuple[Region, ...], into: memoryview) -> tuple[Region, ...]:
        """Read all the extents, one after the other; zeros are put past the end of the input.

        Returns the ranges that could not be read. Raises SourceError, which names the sector.
        """
        if self._has_holes and self._are_holes(extents):
            into[:] = bytes(len(into))
            return ()
        at = 0
        untrue: list[Region] = []
        for extent in extents:
            part = into[at : at + extent.size * SECTOR]
            at += len(part)
            try:
                self._fill(part, extent.start * SECTOR)
            except OSError as error:
                if not self._replaces_errors:
                    raise self._error(self._find_bad(part, extent), error) from error
                untrue.extend(self._fill_singly(part, extent))
        return tuple(untrue)

    def read_next(self, count: int) -> bytes:
        """Return the next bytes of a stream: fewer than `count` only at its end."""
        parts = []
        while count and (part := os.read(self.descriptor, count)):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def last_data(self, start: int, end: int) -> int:
        """Return the byte past the last one in a byte range that is not zero; `start` if none."""
        while end > start:
            if self._has_holes and self._is_hole(start, end):
                return start
            at = max(end - _SCAN, start)
            if self._has_holes and self._is_hole(at, end):
                end = at
                continue
            data = self.read_at(at, end - at)
            if stripped := len(data.rstrip(b"\0")):
                return at + stripped
            end = at
        return start

    def _are_holes(self, extents: tuple[Region, ...]) -> bool:
        """Whether the extents, ascending, lie in one hole: reading it would only fill memory."""
        return self._is_hole(extents[0].start * SECTOR, extents[-1].end * SECTOR)

    def _is_hole(self, start: int, end: int) -> bool:
        try:
            return os.lseek(self.descriptor, start, os.SEEK_DATA) >= end
        except OSError as error:
            return error.errno == errno.ENXIO  # no data after this

    def _fill(self, part: memoryview, offset: int) -> None:
        filled = fill(self.descriptor, [part], offset, len(part))
        if filled < len(part):
            part[filled:] = bytes(len(part) - filled)

    def _fill_singly(self, part: memoryview, extent: Region) -> list[Region]:
        untrue: list[Region] = []
        for number in range(extent.size):
            sector = part[number * SECTOR : (number + 1) * SECTOR]
            if not self._try_sector(sector, extent.start + number):
                sector[:] = bytes(SECTOR)
                if untrue and untrue[-1].end == extent.start + number:
                    untrue[-1] = Region(untrue[-1].start, untrue[-1].size + 1)
                else:
                    untrue.append(Region(extent.start + number, 1))
        return untrue

    def _try_sector(self, sector: memoryview, number: int) -> bool:
        for _ in range(_RETRIES):
            try:
                self._fill(sector, number * SECTOR)
            except OSError:
                continue
            return True
        return False

    def _find_bad(self, part: memoryview, extent: Region) -> int:
        for number in range(extent.size):
            if not self._try_sector(part[:SECTOR], extent.start + number):
                return (extent.start + number) * SECTOR
        return extent.start * SECTOR

    def _error(self, offset: int, error: OSError) -> SourceError:
        return SourceError(
            f"{self.name}: read error at sector {offset // SECTOR}: {error.strerror}; "
            "with -X such sectors are replaced by zeros, and the image says which"
        )


def _open(path: str) -> int:
    """Open a disk or a file; raise SourceError for a disk that is not there."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if path.startswith("/dev/"):
            raise SourceError(f"{path}: {error.strerror}; {disks_here()}") from error
        raise
