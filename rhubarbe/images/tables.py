"""The partitions of a disk by its table, MBR or GPT, and where each begins."""

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
_MBR_ENTRY = struct.Struct("<4xB3xI4x")
_GPT = struct.Struct("<8s64xQII")
_GPT_TYPE = 0xEE
_EXTENDED = (0x05, 0x0F, 0x85)


class Partition(NamedTuple):
    """A partition, with the number that Linux gives it, and the byte where it begins.

    The whole disk, where a filesystem may be without any table, has number 0.
    """

    number: int
    start: int


def partitions(disk: Disk, sector_size: int) -> list[Partition]:
    """Return the partitions of a disk whose tables count in sectors of so many bytes, then itself.

    As Linux does, a GPT is believed where the MBR says that there is one.
    """
    entries = _entries(disk, 0)
    found = list(_gpt(disk, sector_size)) if any(kind == _GPT_TYPE for kind, _ in entries) else []
    found = found or list(_mbr(disk, entries, sector_size))
    return [*found, Partition(0, 0)]


def _entries(disk: Disk, at: int) -> list[tuple[int, int]]:
    """Return kind and start, in sectors, of each entry of the boot record at byte `at`."""
    record = disk.read(at, _RECORD)
    if not record.endswith(_SIGNATURE):
        return []
    return list(_MBR_ENTRY.iter_unpack(record[_MBR_TABLE:-2]))


def _mbr(disk: Disk, entries: list[tuple[int, int]], sector_size: int) -> Iterator[Partition]:
    extended = [start for kind, start in entries if kind in _EXTENDED and start]
    for number, (kind, start) in enumerate(entries, 1):
        if kind and start and kind not in (*_EXTENDED, _GPT_TYPE):
            yield Partition(number, start * sector_size)
    if extended:
        yield from _logical(disk, extended[0], sector_size)


def _logical(disk: Disk, base: int, sector_size: int) -> Iterator[Partition]:
    """Follow the records in an extended partition, each with a partition and where the next is."""
    here, number = base, FIRST_LOGICAL
    for _ in range(MOST_LOGICAL):
        entries = _entries(disk, here * sector_size)
        for kind, start in entries:
            if kind and start and kind not in _EXTENDED:
                yield Partition(number, (here + start) * sector_size)
                number += 1
        following = [start for kind, start in entries if kind in _EXTENDED and start]
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
            start = int.from_bytes(entries[at + 32 : at + 40], "little")
            yield Partition(number, start * sector_size)
