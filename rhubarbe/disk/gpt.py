"""The GUID partition table: one copy of it, read with its checksums, and made for another place.

Positions are in the disk's own logical sectors. Source: the UEFI specification, chapter 5.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from rhubarbe.disk.reading import SECTOR, ReadAt

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_MAX_ENTRIES = 1024
_MAX_ENTRY = 4096


@dataclass(frozen=True, slots=True)
class ReadableDisk:
    """A disk to be read, `size` bytes of logical sectors of `sector_size` bytes."""

    read_at: ReadAt
    size: int
    sector_size: int

    @property
    def factor(self) -> int:
        """Sectors of 512 bytes in a logical one."""
        return self.sector_size // SECTOR

    @property
    def sectors(self) -> int:
        """Sectors of 512 bytes, as all positions are counted that are given out."""
        return self.size // SECTOR

    def read(self, at: int, count: int) -> bytes:
        """Return so many bytes from a logical sector on."""
        return self.read_at(at * self.sector_size, count)


@dataclass(frozen=True, slots=True)
class GptHeader:
    """One header of a GPT: positions and sizes in the disk's own logical sectors.

    `raw` are the header's bytes as the disk has them, `entries` those of the whole table.
    """

    raw: bytes
    at: int
    alternate: int
    first_usable: int
    last_usable: int
    entries_at: int
    entries: bytes

    def entries_sectors(self, sector_size: int) -> int:
        """How many logical sectors the entries fill."""
        return -(-len(self.entries) // sector_size)

    def placed(self, at: int, alternate: int, entries_at: int, last_usable: int) -> bytes:
        """Return this header's bytes for another place, with its checksum made true."""
        raw = bytearray(self.raw)
        struct.pack_into("<QQQQ", raw, 24, at, alternate, self.first_usable, last_usable)
        struct.pack_into("<Q", raw, 72, entries_at)
        return _with_checksum(raw)

    @property
    def entry_size(self) -> int:
        """Bytes of one entry."""
        return int.from_bytes(self.raw[84:88], "little")

    def with_type(self, number: int, kind: UUID) -> "GptHeader":
        """Return this copy with another type of the partition of that number, which it must have.

        The checksums are made true.
        """
        at = (number - 1) * self.entry_size
        entries = self.entries[:at] + kind.bytes_le + self.entries[at + 16 :]
        raw = bytearray(self.raw)
        raw[88:92] = zlib.crc32(entries).to_bytes(4, "little")
        return replace(self, raw=_with_checksum(raw), entries=entries)

    def partitions(self) -> Iterator[tuple[int, str, int, int]]:
        """Yield (number, type's UUID in upper case, first sector, sector past it) of each."""
        for at in range(0, len(self.entries), self.entry_size):
            kind, _, start, last, _, _ = _ENTRY.unpack_from(self.entries, at)
            if any(kind) and last >= start:
                name = str(UUID(bytes_le=kind)).upper()
                yield at // self.entry_size + 1, name, start, last + 1


def _with_checksum(raw: bytearray) -> bytes:
    size = int.from_bytes(raw[12:16], "little")
    raw[16:20] = bytes(4)
    raw[16:20] = zlib.crc32(raw[:size]).to_bytes(4, "little")
    return bytes(raw)


def read_copy(disk: ReadableDisk, at: int) -> GptHeader | None:
    """Return one copy of the table, if its header and entries are what their checksums say."""
    if not 0 < at < disk.size // disk.sector_size:
        return None
    sector = disk.read(at, disk.sector_size)[:SECTOR]
    if len(sector) < SECTOR or not _is_sound(sector, at):
        return None
    fields = _HEADER.unpack_from(sector)
    count, entry_size, entries_check = fields[11:14]
    entries = disk.read(fields[10], count * entry_size)
    if len(entries) != count * entry_size or zlib.crc32(entries) != entries_check:
        return None
    return GptHeader(
        raw=sector,
        at=at,
        alternate=fields[6],
        first_usable=fields[7],
        last_usable=fields[8],
        entries_at=fields[10],
        entries=entries,
    )


def _is_sound(sector: bytes, at: int) -> bool:
    """Whether a header is one, of this place, and describes entries of a size that can be."""
    fields = _HEADER.unpack_from(sector)
    size, check = fields[2], fields[3]
    count, entry_size = fields[11:13]
    return bool(
        fields[0] == b"EFI PART"
        and fields[5] == at
        and _HEADER.size <= size <= SECTOR
        and zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) == check
        and count <= _MAX_ENTRIES
        and _ENTRY.size <= entry_size <= _MAX_ENTRY
    )
