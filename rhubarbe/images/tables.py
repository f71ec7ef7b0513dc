"""The partitions of a disk by its table, MBR or GPT, and where each begins and ends."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from rhubarbe.images.extfs import Disk

MOST_ENTRIES = 128
MOST_LOGICAL = 60
FIRST_LOGICAL = 5

_RECORD = 512
_SIGNATURE = b"\x55\xaa"
_MBR_TABLE = 446
_MBR_ENTRY = struct.Struct("<B3xB3xII")
_GPT = struct.Struct("<8s64xQII")
_GPT_TYPE = 0xEE
_EXTENDED = (0x05, 0x0F, 0x85)


class Partition(NamedTuple):
    """A partition, with the number that Linux gives it, and the bytes where it begins and ends."""

    number: int
    start: int
    end: int


class _Entry(NamedTuple):
    kind: int
    start: int
    size: int


def partitions(disk: Disk, sector_size: int) -> list[Partition]:
    """Return the partitions of a disk whose tables count in sectors of so many bytes.

    As Linux does, a GPT is believed where the MBR says that there is one.
    """
    entries = _entries(disk, 0)
    found = list(_gpt(disk, sector_size)) if any(each.kind == _GPT_TYPE for each in entries) else []
    return found or list(_mbr(disk, entries, sector_size))


def last_end(disk: Disk, sector_size: int) -> int:
    """Return the byte where the last partition ends, be it an extended one; 0 without a table."""
    found = partitions(disk, sector_size)
    end = max((each.end for each in found), default=0)
    entries = _entries(disk, 0)
    if any(each.kind == _GPT_TYPE for each in entries):
        return end
    extended = [each for each in entries if each.kind in _EXTENDED and each.start]
    return max(end, *((each.start + each.size) * sector_size for each in extended), 0)


def _entries(disk: Disk, at: int) -> list[_Entry]:
    """Return the entries, in sectors, of the boot record at byte `at`; none of what is no record.

    The first sector of a filesystem has the same signature, and code where the entries would be.
    """
    record = disk.read(at, _RECORD)
    raw = list(_MBR_ENTRY.iter_unpack(record[_MBR_TABLE:-2]))
    if not record.endswith(_SIGNATURE) or any(flag & 0x7F for flag, _, _, _ in raw):
        return []
    return [_Entry(kind, start, size) for _, kind, start, size in raw]


def _partition(number: int, base: int, entry: _Entry, sector_size: int) -> Partition:
    start = base + entry.start
    return Partition(number, start * sector_size, (start + entry.size) * sector_size)


def _mbr(disk: Disk, entries: list[_Entry], sector_size: int) -> Iterator[Partition]:
    extended = [each.start for each in entries if each.kind in _EXTENDED and each.start]
    for number, each in enumerate(entries, 1):
        if each.kind and each.start and each.kind not in (*_EXTENDED, _GPT_TYPE):
            yield _partition(number, 0, each, sector_size)
    if extended:
        yield from _logical(disk, extended[0], sector_size)


def _logical(disk: Disk, base: int, sector_size: int) -> Iterator[Partition]:
    """Follow the records in an extended partition, each with a partition and where the next is."""
    here, number = base, FIRST_LOGICAL
    for _ in range(MOST_LOGICAL):
        entries = _entries(disk, here * sector_size)
        for each in entries:
            if each.kind and each.start and each.kind not in _EXTENDED:
                yield _partition(number, here, each, sector_size)
                number += 1
        following = [each.start for each in entries if each.kind in _EXTENDED and each.start]
        if not following:
            return
        here = base + following[0]


def _gpt(disk: Disk, sector_size: int) -> Iterator[Partition]:
    magic, table, count, size = _GPT.unpack_from(disk.read(sector_size, _RECORD))
    if magic != b"EFI PART" or not 128 <= size <= _RECORD:  # noqa: PLR2004 - as UEFI says
        return
    entries = disk.read(table * sector_size, min(count, MOST_ENTRIES) * size)
    for number, at in enumerate(range(0, len(entries), size), 1):
        if any(entries[at : at + 16]):
            first, last = struct.unpack_from("<QQ", entries, at + 32)
            yield Partition(number, first * sector_size, (last + 1) * sector_size)
