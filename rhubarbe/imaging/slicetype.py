"""The type of a partition in the table of an open disk: of an MBR, or in both copies of a GPT.

Types are given as an MBR has them. What each is called in a GPT: the UEFI specification, chapter 5,
and the discoverable partitions and codes that the systems' own tools use.
"""

import os
from uuid import UUID

from rhubarbe.disk.errors import PartitionError
from rhubarbe.disk.gpt import GptHeader, ReadableDisk, read_copy
from rhubarbe.disk.partitions import PartitionTable, with_type
from rhubarbe.disk.reading import SECTOR
from rhubarbe.imaging.sectorsize import read_disk_table

_BASIC_DATA = UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")
_IN_GPT = {
    **dict.fromkeys((0x01, 0x04, 0x06, 0x07, 0x0B, 0x0C, 0x0E), _BASIC_DATA),
    0x82: UUID("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"),
    0x83: UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
    0x8E: UUID("E6D6D379-F507-44C2-A23C-238F2A3DF928"),
    0xA5: UUID("516E7CB4-6ECF-11D6-8FF8-00022D09712B"),
    0xA6: UUID("824CC7A0-36A8-11E3-890A-952519AD3F61"),
    0xAF: UUID("48465300-0000-11AA-AA11-00306543ECAC"),
    0xEF: UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"),
    0xFD: UUID("A19D880F-05FC-4D3B-A006-743F0F84911E"),
}

Change = tuple[int, bytes]
"""Byte offset on the disk, and what is to be there."""


def type_changes(descriptor: int, name: str, number: int, kind: int) -> list[Change]:
    """Return what gives a partition of an open disk a type, in the order of writing.

    Raises PartitionError where there is no such partition, or its type cannot be that.
    """
    size = os.lseek(descriptor, 0, os.SEEK_END)
    table = read_disk_table(descriptor, size, name)
    table.find(number)
    if table.gpt is None:
        return [(0, with_type(os.pread(descriptor, SECTOR, 0), number, kind))]
    if kind not in _IN_GPT:
        raise PartitionError(
            f"{name}: type 0x{kind:02X} has no counterpart in a GPT; these have: "
            + ", ".join(f"0x{each:02X}" for each in sorted(_IN_GPT))
        )
    return _gpt_changes(descriptor, size, table, table.gpt, number, _IN_GPT[kind])


def write_changes(descriptor: int, changes: list[Change]) -> None:
    """Write them, each when the one before is on the disk: there always is a copy that is sound."""
    for offset, data in changes:
        os.pwrite(descriptor, data, offset)
        os.fsync(descriptor)


def _gpt_changes(
    descriptor: int, size: int, table: PartitionTable, gpt: GptHeader, number: int, kind: UUID
) -> list[Change]:
    disk = ReadableDisk(lambda at, count: os.pread(descriptor, count, at), size, table.sector_size)
    changes: list[Change] = []
    for copy in (read_copy(disk, gpt.alternate), gpt):
        if copy is None or number not in {each[0] for each in copy.partitions()}:
            continue
        changed = copy.with_type(number, kind)
        changes.append((copy.entries_at * disk.sector_size, changed.entries))
        changes.append((copy.at * disk.sector_size, changed.raw))
    return changes
