"""Partition tables: MBR with its extended chain, GPT with its backup; pure over a read function.

A table counts in the logical sectors of its disk, of 512 or 4096 bytes; all positions that are
given out are in sectors of 512 bytes. Sources: the UEFI specification for GPT, the layout of IBM PC
disks for MBR.
"""

import itertools
import struct
from dataclasses import dataclass

from rhubarbe.disk.errors import EmptyTable, PartitionError
from rhubarbe.disk.gpt import GptHeader, ReadableDisk, read_copy
from rhubarbe.disk.ranges import merge
from rhubarbe.disk.reading import SECTOR, ReadAt

EXTENDED_TYPES = frozenset({0x05, 0x0F, 0x85})
PROTECTIVE_TYPE = 0xEE
MBR_ENTRIES = 4
TRACK = 63
"""Sectors at the start of an MBR disk that always count as used: boot loaders live there."""

SECTOR_SIZES = (512, 1024, 2048, 4096)
"""Sizes of logical sectors that disks have, in bytes."""

_ENTRY = struct.Struct("<B3xB3xII")
_ENTRIES_AT = 446
_CHAIN_MAX = 512


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; `kind` is the MBR type, or the GPT type's UUID in upper case."""

    number: int
    start: int
    size: int
    kind: int | str
    is_extended: bool = False

    @property
    def end(self) -> int:
        """Sector past the partition."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """A disk's partitions; `scheme` is "mbr", "gpt" or "gpt-backup".

    `used` are the ranges (start, end) that hold the tables and boot loaders themselves. `gpt` is
    the header of the copy that was read, in logical sectors of `sector_size` bytes.
    """

    scheme: str
    disk_sectors: int
    partitions: tuple[Partition, ...]
    used: tuple[tuple[int, int], ...]
    unused_numbers: tuple[int, ...] = ()
    gpt: GptHeader | None = None
    sector_size: int = SECTOR

    @property
    def end(self) -> int:
        """Sector past the last partition, 0 where there is none."""
        return max((partition.end for partition in self.partitions), default=0)

    def find(self, number: int) -> Partition:
        """Return the partition of that number; raise PartitionError where there is none."""
        for partition in self.partitions:
            if partition.number == number:
                return partition
        there = ", ".join(str(partition.number) for partition in self.partitions)
        raise PartitionError(f"no slice {number} on this disk; there are: {there or 'none'}")


def read_partitions(read_at: ReadAt, size: int, sector_size: int = SECTOR) -> PartitionTable:
    """Read and check the table of a disk of `size` bytes, in logical sectors of `sector_size`.

    Raises PartitionError where there is none, or partitions overlap or end beyond the disk;
    EmptyTable where an MBR has no partitions, which the boot sector of a filesystem has neither.
    """
    table = read_table(read_at, size, sector_size)
    _check_overlaps(table)
    return table


def read_table(read_at: ReadAt, size: int, sector_size: int = SECTOR) -> PartitionTable:
    """Read the table as it is, whatever its partitions say; raise PartitionError if none."""
    disk = ReadableDisk(read_at, size, sector_size)
    first = read_at(0, SECTOR)
    return _read_gpt(disk, first) or _read_mbr(disk, first)


def gpt_sector_size(read_at: ReadAt, size: int | None = None) -> int | None:
    """Return the size of logical sectors, in bytes, by which there is a sound GPT on a disk.

    Looks at the start, then at the end of the `size` bytes, if they are known.
    """
    if not _may_have_gpt(read_at(0, SECTOR)):
        return None
    for sector_size in SECTOR_SIZES:
        if read_copy(ReadableDisk(read_at, 1 << 63, sector_size), 1):
            return sector_size
    for sector_size in SECTOR_SIZES if size else ():
        if _read_backup(ReadableDisk(read_at, size or 0, sector_size)):
            return sector_size
    return None


def with_type(first: bytes, number: int, kind: int) -> bytes:
    """Return a disk's first sector with the type of a primary partition (1 to 4) set.

    Raises PartitionError where it has none, or one of which others depend.
    """
    entries = _mbr_entries(first)
    if not 1 <= number <= MBR_ENTRIES or not entries or entries[0][0] == PROTECTIVE_TYPE:
        raise PartitionError(f"P{number} has no type to set: only the primary ones of an MBR have")
    structural = {PROTECTIVE_TYPE, *EXTENDED_TYPES}
    if kind in structural or entries[number - 1][0] in structural:
        raise PartitionError(f"P{number} cannot become 0x{kind:02X}: other partitions depend on it")
    sector = bytearray(first)
    sector[446 + 16 * (number - 1) + 4] = kind
    return bytes(sector)


def _check_overlaps(table: PartitionTable) -> None:
    plain = sorted((p for p in table.partitions if not p.is_extended), key=lambda p: p.start)
    for before, after in itertools.pairwise(plain):
        if after.start < before.end:
            raise PartitionError(f"P{before.number} and P{after.number} overlap!")
    for partition in plain:
        if partition.end > table.disk_sectors:
            raise PartitionError(
                f"P{partition.number} ends at sector {partition.end}, "
                f"past the end of the disk at {table.disk_sectors}"
            )


def _read_mbr(disk: ReadableDisk, first: bytes) -> PartitionTable:
    entries = _mbr_entries(first)
    if not _is_mbr(first):
        raise PartitionError("No GPT or MBR partition table found!")
    if any(kind == PROTECTIVE_TYPE for kind, _, _ in entries or ()):
        raise PartitionError("the MBR says that there is a GPT, but both its copies are damaged")
    if not entries or not any(kind and size for kind, _, size in entries):
        raise EmptyTable("its MBR has no partitions")
    factor = disk.factor
    found = [
        Partition(number, start * factor, size * factor, kind, kind in EXTENDED_TYPES)
        for number, (kind, start, size) in enumerate(entries, 1)
        if kind and size
    ]
    unused = tuple(n for n, (kind, _, size) in enumerate(entries, 1) if not (kind and size))
    used = [(0, min(TRACK, disk.sectors))]
    for extended in [p for p in found if p.is_extended]:
        logicals, boot_records = _follow_chain(disk, extended)
        found.extend(logicals)
        used.extend((at, at + factor) for at in boot_records)
    return PartitionTable(
        "mbr", disk.sectors, tuple(found), tuple(used), unused, sector_size=disk.sector_size
    )


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int]] | None:
    """Return (type, start, size) of the four entries; None where there is no MBR, or all is unused.

    The latter is no table in itself: the boot sectors of many filesystems look like that.
    """
    if not _is_mbr(sector):
        return None
    entries = [
        _ENTRY.unpack_from(sector, _ENTRIES_AT + _ENTRY.size * n)[1:] for n in range(MBR_ENTRIES)
    ]
    return entries if any(kind for kind, _, _ in entries) else None


def _is_mbr(sector: bytes) -> bool:
    """Whether a sector has an MBR's signature, and flags that can be: other boot sectors do not."""
    if len(sector) < SECTOR or sector[510:512] != b"\x55\xaa":
        return False
    return not any(sector[_ENTRIES_AT + _ENTRY.size * n] & 0x7F for n in range(MBR_ENTRIES))


def _follow_chain(disk: ReadableDisk, extended: Partition) -> tuple[list[Partition], list[int]]:
    """Return the logical partitions, numbered from 5, and the sectors of their boot records."""
    logicals: list[Partition] = []
    boot_records: list[int] = []
    factor = disk.factor
    at = extended.start
    while at not in boot_records and len(boot_records) < _CHAIN_MAX:
        boot_records.append(at)
        entries = _mbr_entries(disk.read_at(at * SECTOR, SECTOR)) or []
        following = None
        for kind, start, size in entries:
            if kind in EXTENDED_TYPES:
                following = extended.start + start * factor
            elif kind and size:
                number = 5 + len(logicals)
                logicals.append(Partition(number, at + start * factor, size * factor, kind))
        if following is None:
            break
        at = following
    return logicals, boot_records


def protective_entry(sector: bytes) -> tuple[int, int, int] | None:
    """Return (offset in the sector, start, size) of an MBR's protective entry, if it has one."""
    for number, (kind, start, size) in enumerate(_mbr_entries(sector) or []):
        if kind == PROTECTIVE_TYPE:
            return 446 + 16 * number, start, size
    return None


def _may_have_gpt(first: bytes) -> bool:
    """Whether a GPT counts: an MBR without a protective entry is a table of its own.

    So say the kernel, libblkid and sfdisk; a GPT beside it is what a former table left there.
    """
    return protective_entry(first) is not None or not _mbr_entries(first)


def _read_gpt(disk: ReadableDisk, first: bytes) -> PartitionTable | None:
    if not _may_have_gpt(first):
        return None
    if primary := read_copy(disk, 1):
        return _gpt_table("gpt", disk, primary)
    if backup := _read_backup(disk):
        return _gpt_table("gpt-backup", disk, backup)
    return None


def _read_backup(disk: ReadableDisk) -> GptHeader | None:
    return read_copy(disk, disk.size // disk.sector_size - 1)


def _gpt_table(scheme: str, disk: ReadableDisk, header: GptHeader) -> PartitionTable:
    """Make the table of one copy; in use are what is before the first usable sector, both tables.

    The other table is where its header says, which need not be the end of the disk.
    """
    other = read_copy(disk, header.alternate)
    used = [(0, header.first_usable)]
    for copy in (header, other):
        if copy is not None:
            used.append((copy.at, copy.at + 1))
            end = copy.entries_at + copy.entries_sectors(disk.sector_size)
            used.append((copy.entries_at, end))
    used = merge((start * disk.factor, end * disk.factor) for start, end in used)
    return PartitionTable(
        scheme,
        disk.sectors,
        tuple(
            Partition(number, start * disk.factor, (end - start) * disk.factor, kind)
            for number, kind, start, end in header.partitions()
        ),
        tuple((start, min(end, disk.sectors)) for start, end in used if start < disk.sectors),
        gpt=header,
        sector_size=disk.sector_size,
    )
