"""Partition tables: MBR with its extended chain, GPT with its backup; pure over a read function.

All positions are in sectors of 512 bytes. Sources: the UEFI specification for GPT, the layout of
IBM PC disks for MBR.
"""

import itertools
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from rhubarbe.imaging.errors import PartitionError
from rhubarbe.ndz.header import SECTOR

ReadAt = Callable[[int, int], bytes]
"""read_at(byte offset, byte count) -> bytes, fewer at the end of the disk."""

EXTENDED_TYPES = frozenset({0x05, 0x0F, 0x85})
PROTECTIVE_TYPE = 0xEE
MBR_ENTRIES = 4
TRACK = 63
"""Sectors before the first partition that always count as used: boot loaders live there."""

_ENTRY = struct.Struct("<B3xB3xII")
_GPT_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_GPT_ENTRY = struct.Struct("<16s16sQQQ72s")
_GPT_MAX_ENTRIES = 1024
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

    `used` are the ranges (start, end) that hold the tables and boot loaders themselves, `free`
    the ranges between and around partitions that nothing owns.
    """

    scheme: str
    disk_sectors: int
    partitions: tuple[Partition, ...]
    used: tuple[tuple[int, int], ...]
    unused_numbers: tuple[int, ...] = ()

    def find(self, number: int) -> Partition:
        """Return the partition of that number; raise PartitionError where there is none."""
        for partition in self.partitions:
            if partition.number == number:
                return partition
        there = ", ".join(str(partition.number) for partition in self.partitions)
        raise PartitionError(f"no slice {number} on this disk; there are: {there or 'none'}")


def read_partitions(read_at: ReadAt, size: int) -> PartitionTable:
    """Read the table of a disk of `size` bytes; raise PartitionError where there is none."""
    sectors = size // SECTOR
    first = read_at(0, SECTOR)
    table = _read_gpt(read_at, sectors, first) or _read_mbr(read_at, sectors, first)
    _check_overlaps(table)
    return table


def set_mbr_type(descriptor: int, number: int, kind: int) -> None:
    """Set the type of a primary partition (1 to 4) of an open disk; raise PartitionError."""
    entries = _mbr_entries(os.pread(descriptor, SECTOR, 0))
    if not 1 <= number <= MBR_ENTRIES or not entries or entries[0][0] == PROTECTIVE_TYPE:
        raise PartitionError(f"P{number} has no type to set: only the primary ones of an MBR have")
    sector = bytearray(os.pread(descriptor, SECTOR, 0))
    sector[446 + 16 * (number - 1) + 4] = kind
    os.pwrite(descriptor, sector, 0)
    os.fsync(descriptor)


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


def _read_mbr(read_at: ReadAt, sectors: int, first: bytes) -> PartitionTable:
    entries = _mbr_entries(first)
    if entries is None:
        raise PartitionError("No GPT or MBR partition table found!")
    if any(kind == PROTECTIVE_TYPE for kind, _, _ in entries):
        raise PartitionError("the MBR says that there is a GPT, but both its copies are damaged")
    found = [
        Partition(number, start, size, kind, kind in EXTENDED_TYPES)
        for number, (kind, start, size) in enumerate(entries, 1)
        if kind and size
    ]
    unused = tuple(n for n, (kind, _, size) in enumerate(entries, 1) if not (kind and size))
    used = [(0, min(TRACK, sectors))]
    for extended in [p for p in found if p.is_extended]:
        logicals, boot_records = _follow_chain(read_at, extended)
        found.extend(logicals)
        used.extend((at, at + 1) for at in boot_records)
    return PartitionTable("mbr", sectors, tuple(found), tuple(used), unused)


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int]] | None:
    """Return (type, start, size) of the four entries; None where the signature is missing."""
    if len(sector) < SECTOR or sector[510:512] != b"\x55\xaa":
        return None
    entries = []
    for number in range(MBR_ENTRIES):
        flag, kind, start, size = _ENTRY.unpack_from(sector, 446 + 16 * number)
        if flag & 0x7F:  # a boot sector of something else
            return None
        entries.append((kind, start, size))
    return entries if any(kind for kind, _, _ in entries) else None


def _follow_chain(read_at: ReadAt, extended: Partition) -> tuple[list[Partition], list[int]]:
    """Return the logical partitions, numbered from 5, and the sectors of their boot records."""
    logicals: list[Partition] = []
    boot_records: list[int] = []
    at = extended.start
    while at not in boot_records and len(boot_records) < _CHAIN_MAX:
        boot_records.append(at)
        entries = _mbr_entries(read_at(at * SECTOR, SECTOR)) or []
        following = None
        for kind, start, size in entries:
            if kind in EXTENDED_TYPES:
                following = extended.start + start
            elif kind and size:
                logicals.append(Partition(5 + len(logicals), at + start, size, kind))
        if following is None:
            break
        at = following
    return logicals, boot_records


def _read_gpt(read_at: ReadAt, sectors: int, first: bytes) -> PartitionTable | None:
    if primary := _gpt_copy(read_at, sectors, 1):
        return _gpt_table("gpt", sectors, *primary)
    entries = _mbr_entries(first) or []
    is_protective = any(kind == PROTECTIVE_TYPE for kind, _, _ in entries)
    # without a protective MBR, a backup at the end is what a former table left there
    if (is_protective or not entries) and (backup := _gpt_copy(read_at, sectors, sectors - 1)):
        return _gpt_table("gpt-backup", sectors, *backup)
    return None


@dataclass(frozen=True, slots=True)
class _GptHeader:
    first_usable: int
    last_usable: int
    entries_at: int
    entry_count: int
    entry_size: int
    entries_check: int


def _gpt_copy(read_at: ReadAt, sectors: int, at: int) -> tuple[_GptHeader, list[Partition]] | None:
    """Return one copy of the table, if its header and entries are what their checksums say."""
    if not 0 < at < sectors or (header := _gpt_header(read_at(at * SECTOR, SECTOR))) is None:
        return None
    entries = read_at(header.entries_at * SECTOR, header.entry_count * header.entry_size)
    if zlib.crc32(entries) != header.entries_check:
        return None
    found = []
    for number in range(header.entry_count):
        kind, _, start, last, _, _ = _GPT_ENTRY.unpack_from(entries, number * header.entry_size)
        if any(kind) and last >= start:
            name = str(UUID(bytes_le=kind)).upper()
            found.append(Partition(number + 1, start, last - start + 1, name))
    return header, found


def _gpt_header(sector: bytes) -> _GptHeader | None:
    if len(sector) < SECTOR or sector[:8] != b"EFI PART":
        return None
    fields = _GPT_HEADER.unpack_from(sector)
    size, check = fields[2], fields[3]
    if not _GPT_HEADER.size <= size <= SECTOR:
        return None
    if zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) != check:
        return None
    header = _GptHeader(fields[7], fields[8], *fields[10:14])
    is_sound = header.entry_count <= _GPT_MAX_ENTRIES and header.entry_size >= _GPT_ENTRY.size
    return header if is_sound else None


def _gpt_table(
    scheme: str, sectors: int, header: _GptHeader, found: list[Partition]
) -> PartitionTable:
    used = ((0, min(header.first_usable, sectors)), (min(header.last_usable + 1, sectors), sectors))
    return PartitionTable(scheme, sectors, tuple(found), used)
