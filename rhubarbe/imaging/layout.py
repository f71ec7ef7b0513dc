"""Which sectors of a whole disk go into its image."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rhubarbe.disk.bsdlabel import read_label
from rhubarbe.disk.errors import EmptyTable, PartitionError
from rhubarbe.disk.partitions import Partition, PartitionTable, read_partitions
from rhubarbe.disk.ranges import Range, gaps, merge
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.bsd_slices import Movable, movable_label, parts_of_slice
from rhubarbe.imaging.errors import SourceError
from rhubarbe.imaging.filesystems.identify import find_usage
from rhubarbe.imaging.filesystems.marks import identify
from rhubarbe.imaging.filesystems.usage import PartitionPlace, Usage, whole
from rhubarbe.imaging.lilo import movable_lilo
from rhubarbe.imaging.sectorsize import of_device, of_table, refuse_foreign_table
from rhubarbe.imaging.source import Source
from rhubarbe.ndz.header import SECTOR, SECTORS_MAX

MIN_FREE = 64
"""Shortest run of free sectors that is left out: below it, a region costs more than its data."""

BOOT_GAP = (256 << 20) // SECTOR
"""Up to this size, what is before the first partition is stored as it is: boot loaders own it."""

FIRST_EDGE = ((4 << 20) + (64 << 10)) // SECTOR
LAST_EDGE = (2 << 20) // SECTOR
"""Where the kinds of filesystems, RAID members and containers keep what they are known by.

Both ends of what is saved are stored as the source has them, in use or not: else what the target
was before would still be found there. The second header of LUKS2 begins 4 MiB from the start at the
latest; ZFS labels, copies of boot sectors and RAID superblocks are in the last 2 MiB, Promise's
farthest from the end, 3087 sectors before it.
"""

FURTHER_MARKS = tuple(
    (start // SECTOR, (start + (64 << 10)) // SECTOR) for start in (64 << 20, 256 << 30)
)
"""The copies of btrfs's superblock."""

LONG_TAIL = (1 << 30) // SECTOR
"""What is behind a filesystem is stored as it is; if it is longer, without the zeros at its end."""


@dataclass(frozen=True, slots=True)
class PartitionChoice:
    """What the user asked for; numbers are those of partitions.

    A file (`is_file`), which is also raw, may be empty: a disk is not.
    """

    ignored: frozenset[int] = frozenset()
    raw: frozenset[int] = frozenset()
    slice_number: int | None = None
    is_bare: bool = False
    is_raw: bool = False
    is_file: bool = False
    min_free: int = MIN_FREE
    skips_tail: bool = False
    limit: int | None = None
    sector_size: int | None = None
    relocates: bool = True

    @property
    def is_disk(self) -> bool:
        """Whether the input is to be a whole disk, with partitions."""
        return not (self.is_bare or self.is_raw or self.slice_number)


@dataclass(slots=True)
class Layout:
    """The ranges to store, ascending, in sectors from `base`, and the end of what is covered.

    `blank` are the free ranges too short to be left out, `left_out` those that nothing of may be
    stored. `remarks` are lines for the user, `sector_size` is that of the disk, in bytes; `has_mbr`
    says that its table is an MBR. `movable` is what of a slice depends on where it is.
    """

    base: int
    end: int
    sector_size: int = SECTOR
    has_mbr: bool = False
    ranges: list[Range] = field(default_factory=list)
    blank: list[Range] = field(default_factory=list)
    left_out: list[Range] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    movable: Movable = field(default_factory=Movable)

    @property
    def used_sectors(self) -> int:
        """Number of sectors to store."""
        return sum(end - start for start, end in self.ranges)


def plan(source: Source, choice: PartitionChoice) -> Layout:
    """Decide what of the input to store; raise DiskError where that cannot be known.

    Reads tables and bitmaps only.
    """
    told = choice.sector_size or find_sector_size(source)
    layout, used = _survey(source, choice, told or SECTOR)
    layout.sector_size = told or SECTOR
    if layout.has_mbr and told is None:
        layout.remarks.append(
            "MBR: read in sectors of 512 bytes, as nothing tells; --sector-size says otherwise"
        )
    exact = merge(used)
    layout.ranges = _without_short_gaps(exact, min(layout.end, SECTORS_MAX), choice.min_free)
    if layout.left_out:
        layout.ranges = gaps(merge(layout.left_out), layout.ranges)
    layout.blank = gaps(exact, layout.ranges)
    if choice.limit is not None and choice.limit < layout.end:
        layout.ranges = [(s, min(e, choice.limit)) for s, e in layout.ranges if s < choice.limit]
        layout.end = choice.limit
    if not layout.ranges and not choice.is_file:
        raise SourceError(f"{source.name}: *** No valid data on specified disk/partition!?")
    if layout.ranges and layout.ranges[-1][1] > SECTORS_MAX:
        raise SourceError(
            f"{source.name}: sector {layout.ranges[-1][1] - 1} is in use, "
            f"beyond what an image can count ({SECTORS_MAX} sectors, 2 TiB)"
        )
    return layout


def find_sector_size(source: Source) -> int | None:
    """Return the bytes of a logical sector of the source: the device's, or by the file's table."""
    return of_device(source.descriptor) or of_table(source.read_at, source.size)


def _without_short_gaps(exact: list[Range], end: int, min_free: int) -> list[Range]:
    """Return the ranges with the free runs between and around them that are too short filled."""
    if not exact:
        return []
    ranges = merge(exact, max(min_free - 1, 0))
    if ranges[0][0] < min_free:
        ranges[0] = (0, ranges[0][1])
    if end - ranges[-1][1] < min_free:
        ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
    return ranges


def _survey(
    source: Source, choice: PartitionChoice, sector_size: int
) -> tuple[Layout, list[Range]]:
    if choice.is_raw:
        return Layout(0, source.sectors), [(0, source.sectors)]
    if choice.is_bare:
        return _survey_bare(source, choice)
    try:
        refuse_foreign_table(source.read_at, source.size, sector_size)
        table = read_partitions(source.read_at, source.size, sector_size)
    except PartitionError as error:
        return _survey_without_table(source, choice, error)
    if _is_one_slice(source, table):
        no_table = EmptyTable("it is one BSD slice, without a partition table")
        return _survey_without_table(source, choice, no_table)
    if choice.slice_number is not None:
        return _survey_slice(source, choice, table.find(choice.slice_number))
    return _survey_disk(source, choice, table)


def _survey_without_table(
    source: Source, choice: PartitionChoice, error: PartitionError
) -> tuple[Layout, list[Range]]:
    """Take all of the disk for one filesystem, or for data; raise PartitionError if it is neither.

    An MBR without partitions does not say that the disk is free, as an empty GPT does: boot sectors
    of what is not known here look like it. So all is stored.
    """
    wants_partition = choice.slice_number is not None or choice.ignored or choice.raw
    is_known = not wants_partition and bool(identify(source.read_at, source.sectors))
    is_empty = not wants_partition and isinstance(error, EmptyTable)
    if not (is_known or is_empty):
        raise PartitionError(f"{source.name}: {error}; with -r everything is stored") from error
    layout, used = _survey_bare(source, choice)
    if not is_known:
        layout.remarks.insert(0, f"{source.name}: {error}")
    return layout, used


def _is_one_slice(source: Source, table: PartitionTable) -> bool:
    """Whether the disk is one BSD slice: the boot sector of slices has a table that means nothing.

    It says that there is a partition which begins where itself is.
    """
    if table.scheme != "mbr" or not any(p.start == 0 for p in table.partitions):
        return False
    try:
        return read_label(source.read_at) is not None
    except PartitionError:
        return False


def _survey_bare(source: Source, choice: PartitionChoice) -> tuple[Layout, list[Range]]:
    layout = Layout(0, source.sectors)
    partition = Partition(0, 0, source.sectors, "")
    return layout, list(_used(source, choice, partition, layout.remarks))


def _survey_slice(
    source: Source, choice: PartitionChoice, partition: Partition
) -> tuple[Layout, list[Range]]:
    layout = Layout(partition.start, partition.size)
    used = _used(source, choice, partition, layout.remarks)
    if choice.relocates:
        place = _reader(source, partition), partition.start, partition.size
        found = [movable_label(*place), movable_lilo(*place)]
        layout.movable = next((each for each in found if each.relocations), Movable())
        layout.remarks += [f"P{partition.number}: {each.remark}" for each in found if each.remark]
    return layout, [(start - partition.start, end - partition.start) for start, end in used]


def _survey_disk(
    source: Source, choice: PartitionChoice, table: PartitionTable
) -> tuple[Layout, list[Range]]:
    layout = Layout(0, table.disk_sectors, has_mbr=table.scheme == "mbr")
    if table.scheme == "gpt-backup":
        layout.remarks.append("GPT: using backup GPT")
    if table.gpt and table.sector_size != (of_device(source.descriptor) or SECTOR):
        layout.remarks.append(f"GPT: of a disk with sectors of {table.sector_size} bytes")
    layout.remarks += [f"P{number}: unused, NOT SAVING." for number in table.unused_numbers]
    partitions = [p for p in table.partitions if not p.is_extended]
    for number in sorted((choice.ignored | choice.raw) - set(table.unused_numbers)):
        table.find(number)
    taken = merge([*table.used, *((p.start, p.end) for p in partitions)])
    used = _countable(source, table, [*table.used, *_used_gaps(source, table, taken)])
    for partition in partitions:
        if partition.number in choice.ignored:
            layout.remarks.append(f"P{partition.number}: ignored, NOT SAVING.")
            layout.left_out.append((partition.start, partition.end))
        else:
            used.extend(_used(source, choice, partition, layout.remarks))
    return layout, used


def _countable(source: Source, table: PartitionTable, used: list[Range]) -> list[Range]:
    """Return of what belongs to no partition that which an image can count.

    Beyond it there is only a GPT's backup, which is made again from the other copy when the image
    is restored.
    """
    if table.scheme == "gpt-backup" and table.disk_sectors > SECTORS_MAX:
        raise SourceError(
            f"{source.name}: the GPT at its start is damaged, and the one at its end is beyond "
            "what an image can count (2 TiB); sgdisk or gdisk can repair it"
        )
    return [(start, min(end, SECTORS_MAX)) for start, end in used if start < SECTORS_MAX]


def _used(
    source: Source, choice: PartitionChoice, partition: Partition, remarks: list[str]
) -> Iterator[Range]:
    """Yield the used ranges of one partition, in sectors of the disk."""
    name = f"P{partition.number}" if partition.number else source.name
    try:
        parts = [] if partition.number in choice.raw else _parts_of_slice(source, partition)
    except PartitionError as error:
        remarks.append(f"{name}: {error}: stored raw")
        yield partition.start, partition.end
        return
    if not parts:
        yield from _used_of_filesystem(source, choice, partition, remarks, name)
        return
    for letter, part in parts:
        yield from _used_of_filesystem(source, choice, part, remarks, f"{name} {letter}")
    taken = [(part.start, part.end) for _, part in parts]
    yield from gaps(taken, [(partition.start, partition.end)])


def _parts_of_slice(source: Source, partition: Partition) -> list[tuple[str, Partition]]:
    """Return the parts into which a BSD label divides a partition, with their letters."""
    found = parts_of_slice(_reader(source, partition), partition.start, partition.size)
    return [
        (letter, Partition(partition.number, partition.start + start, end - start, "bsd"))
        for letter, (start, end) in found
    ]


def _used_of_filesystem(
    source: Source, choice: PartitionChoice, partition: Partition, remarks: list[str], name: str
) -> Iterator[Range]:
    usage = _find_usage(source, choice, partition)
    if usage.remark:
        remarks.append(f"{name}: {usage.remark}")
    for start, end in usage.used:
        yield partition.start + start, partition.start + end
    if not choice.skips_tail:
        yield _tail(source, partition.start + usage.end, partition.end)
    yield from _edges(partition.start, partition.end)
    for start, end in FURTHER_MARKS:
        yield partition.start + start, min(partition.start + end, partition.end)


def _edges(start: int, end: int) -> Iterator[Range]:
    """Yield what is always stored of a partition, or of the space between two."""
    yield start, min(start + FIRST_EDGE, end)
    yield max(end - LAST_EDGE, start), end


def _tail(source: Source, start: int, end: int) -> Range:
    """Return what to keep of what is behind a filesystem in its partition, whatever its kind."""
    return (start, end) if end - start <= LONG_TAIL else _data_of_gap(source, start, end)


def _find_usage(source: Source, choice: PartitionChoice, partition: Partition) -> Usage:
    if partition.number in choice.raw:
        return whole("raw", partition.size, "forcing raw compression.")
    is_all = partition.start == 0 and partition.size == source.sectors
    place = PartitionPlace(source.name, partition.start * SECTOR, partition.size * SECTOR, is_all)
    return find_usage(_reader(source, partition), place)


def _reader(source: Source, partition: Partition) -> ReadAt:
    base, length = partition.start * SECTOR, partition.size * SECTOR

    def read_at(offset: int, count: int) -> bytes:
        return source.read_at(base + offset, max(min(count, length - offset), 0))

    return read_at


def _used_gaps(source: Source, table: PartitionTable, taken: list[Range]) -> Iterator[Range]:
    """Yield what to keep of the space between partitions: up to its last byte that is not zero.

    Of a gap of zeros that is thus both ends, which are all of a small one: an old boot loader must
    not survive in it. All that is before the first partition is kept, whatever the table says of
    it: boot loaders live there. Of what is after the last one, only the ends are.
    """
    partitions = [p for p in table.partitions if not p.is_extended]
    first = min((p.start for p in partitions), default=0)
    last = max((p.end for p in partitions), default=0)
    for start, end in gaps(taken, [(0, table.disk_sectors)]):
        if end <= first and end - start <= BOOT_GAP:
            yield start, end
            continue
        yield from _edges(start, end)
        if start < last:
            yield _data_of_gap(source, start, end)


def _data_of_gap(source: Source, start: int, end: int) -> Range:
    last = source.last_data(start * SECTOR, end * SECTOR)
    return start, -(-last // SECTOR)
