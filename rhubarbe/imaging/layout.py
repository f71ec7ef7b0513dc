"""Which sectors of a whole disk go into its image."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rhubarbe.imaging.errors import FilesystemError, PartitionError, SourceError
from rhubarbe.imaging.filesystems.identify import BY_PARTCLONE, find_usage, identify
from rhubarbe.imaging.filesystems.usage import Range, ReadAt, Usage, merge, whole
from rhubarbe.imaging.partitions import MBR_ENTRIES, Partition, PartitionTable, read_partitions
from rhubarbe.imaging.source import Source
from rhubarbe.ndz.header import SECTOR, SECTORS_MAX

MIN_FREE = 64
"""Shortest run of free sectors that is left out: below it, a region costs more than its data."""

SMALL_GAP = 2048
"""A gap of at most 1 MiB is stored as it is: an old boot loader must not survive in it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user asked for; numbers are those of partitions."""

    ignored: frozenset[int] = frozenset()
    raw: frozenset[int] = frozenset()
    slice_number: int | None = None
    is_bare: bool = False
    is_raw: bool = False
    min_free: int = MIN_FREE
    skips_tail: bool = False
    limit: int | None = None


@dataclass(slots=True)
class Layout:
    """The ranges to store, ascending, in sectors from `base`, and the end of what is covered.

    `blank` are the free ranges too short to be left out. `remarks` are lines for the user.
    """

    base: int
    end: int
    ranges: list[Range] = field(default_factory=list)
    blank: list[Range] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def used_sectors(self) -> int:
        """Number of sectors to store."""
        return sum(end - start for start, end in self.ranges)


def plan(source: Source, choice: Choice) -> Layout:
    """Decide what of the input to store; raise ImagingError where that cannot be known.

    Reads tables and bitmaps only.
    """
    layout, used = _survey(source, choice)
    exact = merge(used)
    layout.ranges = _without_short_gaps(exact, layout.end, choice.min_free)
    layout.blank = _gaps(exact, layout.ranges)
    if choice.limit is not None and choice.limit < layout.end:
        layout.ranges = [(s, min(e, choice.limit)) for s, e in layout.ranges if s < choice.limit]
        layout.end = choice.limit
    if not layout.ranges:
        raise SourceError(f"{source.name}: *** No valid data on specified disk/partition!?")
    if layout.ranges[-1][1] > SECTORS_MAX:
        raise SourceError(
            f"{source.name}: sector {layout.ranges[-1][1] - 1} is in use, "
            f"beyond what an image can count ({SECTORS_MAX} sectors, 2 TiB)"
        )
    return layout


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


def _survey(source: Source, choice: Choice) -> tuple[Layout, list[Range]]:
    if choice.is_raw:
        return Layout(0, source.sectors), [(0, source.sectors)]
    if choice.is_bare:
        return _survey_bare(source, choice)
    try:
        table = read_partitions(source.read_at, source.size)
    except PartitionError as error:
        if choice.slice_number is not None or not identify(source.read_at):
            hint = "; with -r everything is stored"
            raise PartitionError(f"{source.name}: {error}{hint}") from error
        return _survey_bare(source, choice)
    if choice.slice_number is not None:
        return _survey_slice(source, choice, table.find(choice.slice_number))
    return _survey_disk(source, choice, table)


def _survey_bare(source: Source, choice: Choice) -> tuple[Layout, list[Range]]:
    layout = Layout(0, source.sectors)
    partition = Partition(0, 0, source.sectors, "")
    return layout, list(_used(source, choice, partition, layout.remarks))


def _survey_slice(
    source: Source, choice: Choice, partition: Partition
) -> tuple[Layout, list[Range]]:
    layout = Layout(partition.start, partition.size)
    used = _used(source, choice, partition, layout.remarks)
    return layout, [(start - partition.start, end - partition.start) for start, end in used]


def _survey_disk(
    source: Source, choice: Choice, table: PartitionTable
) -> tuple[Layout, list[Range]]:
    layout = Layout(0, table.disk_sectors)
    if table.scheme == "gpt-backup":
        layout.remarks.append("GPT: using backup GPT")
    layout.remarks += [f"P{number}: unused, NOT SAVING." for number in table.unused_numbers]
    used = list(table.used)
    partitions = [p for p in table.partitions if not p.is_extended]
    for partition in partitions:
        if partition.number in choice.ignored:
            layout.remarks.append(f"P{partition.number}: ignored, NOT SAVING.")
        else:
            used.extend(_used(source, choice, partition, layout.remarks))
    taken = [*table.used, *((p.start, p.end) for p in partitions)]
    used.extend(_used_gaps(source, table, merge(taken)))
    return layout, used


def _used(
    source: Source, choice: Choice, partition: Partition, remarks: list[str]
) -> Iterator[Range]:
    """Yield the used ranges of one partition, in sectors of the disk."""
    usage = _find_usage(source, choice, partition)
    if usage.remark:
        name = f"P{partition.number}" if partition.number else source.name
        remarks.append(f"{name}: {usage.remark}")
    for start, end in usage.used:
        yield partition.start + start, partition.start + end
    if not choice.skips_tail:
        yield _data_of_gap(source, partition.start + usage.end, partition.end)


def _find_usage(source: Source, choice: Choice, partition: Partition) -> Usage:
    if partition.number in choice.raw:
        return whole("raw", partition.size, "forcing raw compression.")
    read_at = _reader(source, partition)
    usage = find_usage(read_at, partition.size)
    return _ask_partclone(source, partition, read_at, usage.kind) or usage


def _ask_partclone(
    source: Source, partition: Partition, read_at: ReadAt, kind: str
) -> Usage | None:
    """Return what partclone says of a kind that is its own; None for the others."""
    if kind not in BY_PARTCLONE:
        return None
    from rhubarbe.imaging.filesystems import partclone  # with it comes what runs programs

    is_all = partition.start == 0 and partition.size == source.sectors
    place = partclone.Place(source.name, partition.start * SECTOR, partition.size * SECTOR, is_all)
    try:
        return partclone.find_usage(kind, read_at, place)
    except FilesystemError as error:
        return whole(kind, partition.size, f"{kind}, but {error}: stored raw")


def _reader(source: Source, partition: Partition) -> ReadAt:
    base, length = partition.start * SECTOR, partition.size * SECTOR

    def read_at(offset: int, count: int) -> bytes:
        return source.read_at(base + offset, max(min(count, length - offset), 0))

    return read_at


def _used_gaps(source: Source, table: PartitionTable, taken: list[Range]) -> Iterator[Range]:
    """Yield what to keep of the space between partitions: up to its last byte that is not zero.

    A gap of zeros is thus left out, unless it is small.

    After the last partition nothing is kept, nor before the first one where the table says that
    no boot loader lives there: in a GPT, or when all four entries of an MBR are in use.
    """
    partitions = [p for p in table.partitions if not p.is_extended]
    first = min((p.start for p in partitions), default=0)
    last = max((p.end for p in partitions), default=0)
    is_full = table.scheme != "mbr" or sum(p.number <= MBR_ENTRIES for p in table.partitions) == 4  # noqa: PLR2004
    for start, end in _gaps(taken, [(0, table.disk_sectors)]):
        if start >= last or (is_full and end <= first):
            continue
        yield (start, end) if end - start <= SMALL_GAP else _data_of_gap(source, start, end)


def _data_of_gap(source: Source, start: int, end: int) -> Range:
    last = source.last_data(start * SECTOR, end * SECTOR)
    return start, -(-last // SECTOR)


def _gaps(inner: list[Range], outer: list[Range]) -> list[Range]:
    """Return what of the outer ranges the inner ones, ascending and within them, leave."""
    gaps: list[Range] = []
    position = iter([*inner, (1 << 62, 1 << 62)])
    start, stop = next(position)
    for low, high in outer:
        reach = low
        while start < high:
            if start > reach:
                gaps.append((reach, start))
            reach = stop
            start, stop = next(position)
        if reach < high:
            gaps.append((reach, high))
    return gaps
