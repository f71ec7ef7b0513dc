"""How the image of a whole disk is made to fit another disk, or is refused before it is touched.

A partition table knows how large its disk is: a GPT has its backup at the end, and no partition may
reach beyond. So a disk of another size gets a changed table, and what belongs to the old end
not at all. And it counts in logical sectors, so that only a disk whose sectors are as large can
take it. All that is known from the first chunk: the table is at the start of the disk.
"""

import struct
from dataclasses import dataclass, replace
from enum import Enum, auto

from rhubarbe.disk.gpt import GptHeader
from rhubarbe.disk.partitions import PartitionTable, protective_entry
from rhubarbe.disk.ranges import Range
from rhubarbe.imaging.errors import TargetTooSmall, WrongSectorSize
from rhubarbe.imaging.filesystems.blocksize import least_sector_size
from rhubarbe.imaging.firstchunk import FirstChunk
from rhubarbe.imaging.layout import FIRST_EDGE, LAST_EDGE
from rhubarbe.ndz.header import SECTOR, SECTORS_MAX, Buffer, Region

LOST = "what lies behind the last partition does not fit on the disk, and was left out"

_ENDLESS = 1 << 62
_MBR_MAX = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ImageExtent:
    """How far an image reaches: the byte past its last data, the sector past what it covers."""

    data_bytes: int
    covered: int


@dataclass(frozen=True, slots=True)
class TargetDisk:
    """The disk to be written: its size in bytes, and that of its logical sectors if it has any."""

    name: str
    size: int
    sector_size: int | None

    @property
    def sectors(self) -> int:
        """Its size in sectors of 512 bytes."""
        return self.size // SECTOR


class Fate(Enum):
    """What becomes of a run of sectors: the last two are not written."""

    WRITTEN = auto()
    REPLACED = auto()
    """`Fit.additions` write it instead, here or elsewhere."""
    LOST = auto()
    """It is beyond the end of the disk, and in no partition."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What is done otherwise than the image says; ranges (start, end) in sectors.

    `cleared` is made zero before all else. Of `patches` and `additions` (byte offset, bytes) the
    first replace what the image says, the others are written at the end; what the image has in the
    ranges `replaced` is not written. `remarks` are for the user, a line each.
    """

    end: int | None = None
    replaced: tuple[Range, ...] = ()
    cleared: tuple[Range, ...] = ()
    patches: tuple[tuple[int, bytes], ...] = ()
    additions: tuple[tuple[int, bytes], ...] = ()
    remarks: tuple[str, ...] = ()

    def fates(self, regions: tuple[Region, ...]) -> list[tuple[Region, Fate]]:
        """Cut regions where what is not written begins and ends."""
        pieces = [(region, Fate.WRITTEN) for region in regions]
        if self.end is not None:
            pieces = _cut(pieces, (self.end, _ENDLESS), Fate.LOST)
            for cut in self.replaced:
                pieces = _cut(pieces, cut, Fate.REPLACED)
        return pieces

    def patches_any(self, regions: tuple[Region, ...]) -> bool:
        """Whether something else is to be written into these regions than the image says."""
        return any(
            region.start * SECTOR < at + len(patch) and at < region.end * SECTOR
            for at, patch in self.patches
            for region in regions
        )

    def patch(self, offset: int, data: memoryview) -> Buffer:
        """Return the bytes that are to be written at an offset instead of these."""
        changed: bytearray | None = None
        for at, patch in self.patches:
            start, end = max(at, offset), min(at + len(patch), offset + len(data))
            if start < end:
                changed = changed or bytearray(data)
                changed[start - offset : end - offset] = patch[start - at : end - at]
        return data if changed is None else changed


AS_IT_IS = Fit()


def _cut(pieces: list[tuple[Region, Fate]], cut: Range, fate: Fate) -> list[tuple[Region, Fate]]:
    """Give the parts of the pieces that lie in a range another fate."""
    start, end = cut
    parts = [
        part
        for piece, before in pieces
        for part in (
            (piece.start, min(piece.end, start), before),
            (max(piece.start, start), min(piece.end, end), fate),
            (max(piece.start, end), piece.end, before),
        )
    ]
    return [(Region(low, high - low), each) for low, high, each in parts if low < high]


def fit(first: FirstChunk, extent: ImageExtent | None, disk: TargetDisk) -> Fit:
    """Decide how an image goes onto a whole disk; `extent` is None where it is not known yet.

    Raises:
        TargetTooSmall: data, or a partition, lies beyond its end.
        WrongSectorSize: its logical sectors are not those that the image is of.

    """
    refuse_sector_size(first, disk)
    if first.table is None:
        if extent:
            _refuse_too_small(first, extent, disk)
        return AS_IT_IS
    _refuse_partitions_beyond(first.table, disk)
    return _fit_table(first, first.table, extent, disk)


def refuse_sector_size(first: FirstChunk, disk: TargetDisk) -> None:
    """Raise WrongSectorSize where what is in the image needs sectors of another size."""
    there, needed = disk.sector_size, first.sector_size
    if there is None or there == needed:
        return
    if first.table is None and not first.is_gpt_damaged:
        if there < needed:
            return
        least = least_sector_size(first.read_at)
        if least and least >= there:
            return
    raise WrongSectorSize(
        f"{disk.name}: its sectors have {there} bytes, the image is of a disk with sectors of "
        f"{needed}: nothing on it would be found; nothing was written"
    )


def _refuse_too_small(first: FirstChunk, extent: ImageExtent, disk: TargetDisk) -> None:
    if extent.data_bytes > disk.size:
        raise TargetTooSmall(
            f"{disk.name}: too small, nothing was written: write error: No space left on device "
            f"(the image has data up to byte {extent.data_bytes}, "
            f"the disk ends at {disk.size})"
        )
    if first.is_gpt_damaged and extent.covered != disk.sectors:
        raise TargetTooSmall(
            f"{disk.name}: nothing was written: the GPT at the start of the image is damaged, so "
            f"that only a disk of the same size takes it ({extent.covered * SECTOR} bytes, this "
            f"one has {disk.size})"
        )


def _refuse_partitions_beyond(table: PartitionTable, disk: TargetDisk) -> None:
    last = max(table.partitions, key=lambda p: p.end, default=None)
    what = f"the image's partition {last.number}" if last else "the image's partition table"
    ends = "ends"
    needed = table.end * SECTOR
    if table.gpt:
        ends = "end"
        backup = 1 + table.gpt.entries_sectors(table.sector_size)
        needed = max(needed, table.gpt.first_usable * table.sector_size)
        needed += backup * table.sector_size
        what += " and the backup of the table behind it"
    if needed > disk.size:
        raise TargetTooSmall(
            f"{disk.name}: too small, nothing was written: {what} {ends} at byte {needed}, "
            f"the disk at {disk.size}"
        )


def _fit_table(
    first: FirstChunk, table: PartitionTable, extent: ImageExtent | None, disk: TargetDisk
) -> Fit:
    end = _end_of_table(table, extent)
    if end == disk.sectors and _has_backup(table, extent):
        return AS_IT_IS
    behind = max(table.end, min(end, disk.sectors))
    cleared = [(behind, behind + FIRST_EDGE), (disk.sectors - LAST_EDGE, disk.sectors)]
    moved = _moved_gpt(first, table, table.gpt, disk) if table.gpt else Fit()
    return replace(
        moved,
        end=disk.sectors,
        cleared=_clipped([*cleared, *moved.replaced], max(table.end, 1), disk.sectors),
    )


def _end_of_table(table: PartitionTable, extent: ImageExtent | None) -> int:
    """Return the sector past the disk that the image is of, as far as is known."""
    if extent and extent.covered < SECTORS_MAX:
        return extent.covered
    if table.gpt:
        return (table.gpt.alternate + 1) * table.sector_size // SECTOR
    return table.end


def _has_backup(table: PartitionTable, extent: ImageExtent | None) -> bool:
    """Whether the image can hold the backup of a GPT: it does not where it cannot count so far."""
    if table.gpt is None:
        return True
    end = (table.gpt.alternate + 1) * table.sector_size // SECTOR
    return end <= (extent.covered if extent else SECTORS_MAX)


def _old_backup(table: PartitionTable, gpt: GptHeader) -> Range:
    factor = table.sector_size // SECTOR
    start = (gpt.alternate - gpt.entries_sectors(table.sector_size)) * factor
    return max(start, table.end), (gpt.alternate + 1) * factor


def _moved_gpt(first: FirstChunk, table: PartitionTable, gpt: GptHeader, disk: TargetDisk) -> Fit:
    """Return the table's changes for a disk of another size: its backup is at the end of that."""
    size = table.sector_size
    last = disk.size // size - 1
    entries_at = last - gpt.entries_sectors(size)
    primary = gpt.placed(gpt.at, last, gpt.entries_at, entries_at - 1)
    backup = gpt.placed(last, gpt.at, entries_at, entries_at - 1)
    patches = [(gpt.at * size, primary)]
    if entry := protective_entry(first.read_at(0, SECTOR)):
        offset, start, length = entry
        if start + length >= min(gpt.alternate + 1, _MBR_MAX):
            patches.append((offset + 12, struct.pack("<I", min(last + 1 - start, _MBR_MAX))))
    entries = gpt.entries.ljust(gpt.entries_sectors(size) * size, b"\0")
    return Fit(
        replaced=(_old_backup(table, gpt), (entries_at * size // SECTOR, disk.sectors)),
        patches=tuple(patches),
        additions=((entries_at * size, entries), (last * size, backup.ljust(size, b"\0"))),
        remarks=(f"{disk.name}: the backup of the GPT goes to the end of this disk",),
    )


def _clipped(ranges: list[Range], low: int, high: int) -> tuple[Range, ...]:
    clipped = ((max(start, low), min(end, high)) for start, end in ranges)
    return tuple((start, end) for start, end in clipped if start < end)
