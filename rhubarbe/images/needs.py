"""What an image needs of the disk that it is put on: read on the gateway, from the image itself.

An image of a disk with sectors of another size carries seals of version 2, which say so; the
partition tables in it count such sectors. All else counts sectors of 512 bytes.
"""

from __future__ import annotations

import struct
from pathlib import Path

from rhubarbe import TYPE_CHECKING
from rhubarbe.disks import Disk, size_of
from rhubarbe.errors import ImageError, why
from rhubarbe.images.sectors import DiskInside
from rhubarbe.ndz.errors import NdzError
from rhubarbe.ndz.header import HEADER_AREA, SECTOR
from rhubarbe.ndz.mark import MARK, SEAL_AT
from rhubarbe.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import StrPath

    Primary = tuple[int, int, int]  # type, first sector, sectors

USUAL_SIZES = (SECTOR, 4096)

MOST_ENTRIES = 1024
MOST_LOGICALS = 512
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE = 0xEE
_SEAL = struct.Struct("<8s4xHH")
_ENTRY = struct.Struct("<B3xB3xII")
_GPT = struct.Struct("<72xQII")


class Needs(Record):
    """What an image needs, in bytes.

    `sector_size` is None where nothing in the image depends on it. `end` is where the disk may end
    at the soonest, and `last_partition` where its last partition ends, 0 without one. `data_end` is
    where the last byte is stored: what lies behind `end` are tables that can be elsewhere.
    """

    sector_size: int | None
    end: int
    last_partition: int
    data_end: int

    def lack_of(self, disk: Disk) -> str:
        """Say why the image cannot be put on a disk; nothing where it can, or that is not known."""
        size = disk.sector_size
        if self.sector_size and size and size != self.sector_size:
            return (
                f"the image is of a disk with sectors of {self.sector_size} bytes,"
                f" {disk.path} has sectors of {size}"
            )
        if disk.size is None or self.end <= disk.size:
            return ""
        what = "its partitions end" if self.last_partition else "its data ends"
        end = self.last_partition or self.end
        rest = ", before the backup of its table" if end <= disk.size else ""
        return (
            f"the disk is too small for the image: {what} at byte {end}{rest},"
            f" {disk.path} ends at {disk.size} ({size_of(disk.size)})"
        )

    def reaches_beyond(self, disk: Disk) -> bool:
        """Tell whether something is stored for behind the end of a disk, a backup of a table."""
        return disk.size is not None and self.data_end > disk.size


def read_needs(path: StrPath, data_end: int) -> Needs:
    """Read what an image needs that has data up to byte `data_end`; raises ImageError."""
    try:
        with Path(path).open("rb", buffering=0) as file:
            declared = _declared(file.read(HEADER_AREA))
        with DiskInside(path) as disk:
            for size in (declared,) if declared else USUAL_SIZES:
                table = _Table(disk, size)
                if last := table.last_partition():
                    return Needs(size, last + table.behind(), last, data_end)
    except (OSError, NdzError) as error:
        raise ImageError(f"{path}: cannot be read: {why(error)}") from error
    return Needs(None, data_end, 0, data_end)


def _declared(area: bytes) -> int | None:
    if len(area) < HEADER_AREA:
        return None
    mark, version, flags = _SEAL.unpack_from(area, SEAL_AT)
    return SECTOR << (flags >> 8 & 15) if mark == MARK and version > 1 else None


class _Table:
    """The partition table of the disk in an image, which counts sectors of this size."""

    def __init__(self, disk: DiskInside, sector: int) -> None:
        self._disk = disk
        self._sector = sector
        self._gpt = self._read_gpt()

    def last_partition(self) -> int:
        """Return the byte where the last partition ends; 0 where there is none, as it counts."""
        ends = self._gpt_ends() if self._gpt else self._mbr_ends()
        return max(ends, default=0) * self._sector

    def behind(self) -> int:
        """Return how many bytes must follow the last partition."""
        if self._gpt is None:
            return 0
        _, count, size = self._gpt
        return -(-count * size // self._sector) * self._sector + self._sector

    def _read_gpt(self) -> tuple[int, int, int] | None:
        """Return where its entries are, how many, and how long each; None without a GPT."""
        if not any(kind == _PROTECTIVE for kind, _, _ in self._primaries(0)):
            return None
        header = self._disk.read(self._sector, SECTOR)
        table, count, size = _GPT.unpack_from(header)
        if not header.startswith(b"EFI PART") or not 128 <= size <= SECTOR:  # noqa: PLR2004 - as UEFI says
            return None
        return table, min(count, MOST_ENTRIES), size

    def _gpt_ends(self) -> Iterator[int]:
        if self._gpt is None:
            return
        table, count, size = self._gpt
        entries = self._disk.read(table * self._sector, count * size)
        for at in range(0, len(entries), size):
            if any(entries[at : at + 16]):
                yield int.from_bytes(entries[at + 40 : at + 48], "little") + 1

    def _mbr_ends(self) -> Iterator[int]:
        for kind, start, size in self._primaries(0):
            if kind in _EXTENDED:
                yield from self._logical_ends(start)
            if kind and kind != _PROTECTIVE and size:
                yield start + size

    def _logical_ends(self, extended: int) -> Iterator[int]:
        at = extended
        for _ in range(MOST_LOGICALS):
            following = 0
            for kind, start, size in self._primaries(at):
                if kind in _EXTENDED:
                    following = extended + start
                elif kind and size:
                    yield at + start + size
            if following <= at:  # the end, or a chain that goes round
                return
            at = following

    def _primaries(self, at: int) -> list[Primary]:
        """Return the entries of a boot record; none where the sector is something else."""
        sector = self._disk.read(at * self._sector, SECTOR)
        entries = [_ENTRY.unpack_from(sector, 446 + 16 * rank) for rank in range(4)]
        if sector[-2:] != b"\x55\xaa" or any(flag & 0x7F for flag, _, _, _ in entries):
            return []
        found = [(kind, start, size) for _, kind, start, size in entries]
        is_table = at or all(start for kind, start, size in found if kind and size)
        return found if is_table else []
