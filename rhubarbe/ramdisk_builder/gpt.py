"""A GUID partition table with the MBR before it, made from nothing.

Source: the UEFI specification, chapter 5.
"""

import struct
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

SECTOR = 512
LINUX = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
BIOS_BOOT = uuid.UUID("21686148-6449-6E6F-744E-656564454649")
EFI_SYSTEM = uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
ENTRIES, ENTRY_SIZE, HEADER_SIZE = 128, 128, 92
TABLE_SECTORS = ENTRIES * ENTRY_SIZE // SECTOR
FIRST_USABLE = 2 + TABLE_SECTORS
AT_THE_END = TABLE_SECTORS + 1
"""Sectors that the other copy of the table takes."""
SIGNATURE, REVISION = b"EFI PART", 0x10000
BOOT_CODE_SIZE = 440
PROTECTIVE, LAST_CHS = 0xEE, b"\xff\xff\xff"
FIRST_CHS = b"\x00\x02\x00"


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a partition is, in sectors, and what it is for."""

    kind: uuid.UUID
    start: int
    sectors: int
    name: str


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a disk of so many sectors; `identity` is the disk's, and makes the others."""

    identity: uuid.UUID
    sectors: int
    partitions: Mapping[int, Partition]  # by their numbers

    def at_the_start(self, boot_code: bytes) -> bytes:
        """Return the sectors before the first partition, for BIOS with this code in the first."""
        header = self._header(at=1, other=self.sectors - 1, entries_at=2)
        return protective(boot_code, self.sectors) + header + self._entries()

    def at_the_end(self) -> bytes:
        """Return the last sectors of the disk."""
        last = self.sectors - 1
        return self._entries() + self._header(last, other=1, entries_at=last - TABLE_SECTORS)

    def _header(self, at: int, other: int, entries_at: int) -> bytes:
        def packed(checksum: int) -> bytes:
            return struct.pack(
                "<8sIIIIQQQQ16sQIII",
                *(SIGNATURE, REVISION, HEADER_SIZE, checksum, 0, at, other),
                *(FIRST_USABLE, self.sectors - 1 - AT_THE_END, self.identity.bytes_le, entries_at),
                *(ENTRIES, ENTRY_SIZE, zlib.crc32(self._entries())),
            )

        return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")

    def _entries(self) -> bytes:
        return b"".join(self._entry(number) for number in range(1, ENTRIES + 1))

    def _entry(self, number: int) -> bytes:
        if number not in self.partitions:
            return bytes(ENTRY_SIZE)
        partition = self.partitions[number]
        own = uuid.uuid5(self.identity, partition.name)
        last = partition.start + partition.sectors - 1
        name = partition.name.encode("utf-16-le")
        where = (partition.start, last, 0)
        return struct.pack("<16s16sQQQ72s", partition.kind.bytes_le, own.bytes_le, *where, name)


def protective(boot_code: bytes, sectors: int) -> bytes:
    """Return the first sector: code, and a partition over all, for who knows no GPT."""
    covered = min(sectors - 1, 0xFFFFFFFF)
    entry = struct.pack("<B3sB3sII", 0, FIRST_CHS, PROTECTIVE, LAST_CHS, 1, covered)
    code = boot_code[:BOOT_CODE_SIZE].ljust(BOOT_CODE_SIZE + 6, b"\0")
    return code + entry.ljust(64, b"\0") + b"\x55\xaa"
