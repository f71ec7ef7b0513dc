"""The used clusters of FAT12, FAT16 and FAT32, as the first allocation table says.

Source: Microsoft's FAT32 File System Specification.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.ranges import Range, merge, to_sectors
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.filesystems.usage import Usage, whole
from rhubarbe.ndz.header import SECTOR

_FAT12_CLUSTERS, _FAT16_CLUSTERS = 4085, 65525
_FAT12, _FAT16, _FAT32 = 12, 16, 32  # bits of an entry
_FIRST_CLUSTER = 2
_TABLE_PART = 1 << 20
_SECTOR_SIZES = (512, 1024, 2048, 4096)
_STATE_AT = {_FAT16: 0x25, _FAT32: 0x41}
_DIRTY = 1
_SOUND = {_FAT16: 0xC000, _FAT32: 0x0C000000}
"""Bits of the table's second entry: it was unmounted, and without errors."""


@dataclass(frozen=True, slots=True)
class BootSector:
    """The geometry, in the filesystem's own sectors."""

    sector_bytes: int
    cluster_sectors: int
    reserved: int
    tables: int
    table_sectors: int
    root_entries: int
    sectors: int
    active_table: int
    media: int

    @property
    def data_start(self) -> int:
        """First sector of the first cluster."""
        root = -(-self.root_entries * 32 // self.sector_bytes)
        return self.reserved + self.tables * self.table_sectors + root

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return (self.sectors - self.data_start) // self.cluster_sectors

    @property
    def bits(self) -> int:
        """Bits of an entry of the table: the number of clusters alone decides it."""
        if self.clusters < _FAT12_CLUSTERS:
            return 12
        return 16 if self.clusters < _FAT16_CLUSTERS else 32


def is_fat(boot: bytes) -> bool:
    """Whether a first sector looks like that of a FAT filesystem."""
    if len(boot) < SECTOR or boot[510:512] != b"\x55\xaa" or boot[0] not in {0xEB, 0xE9}:
        return False
    if b"FAT" not in boot[54:62] + boot[82:90]:
        return False
    try:
        return _parse(boot).clusters > 0
    except FilesystemError:
        return False


def find_usage(read_at: ReadAt, sectors: int) -> Usage:
    """Return the used ranges; raise FilesystemError where the filesystem makes no sense."""
    first = read_at(0, SECTOR)
    boot = _parse(first)
    factor = boot.sector_bytes // SECTOR
    end = boot.sectors * factor
    if end > sectors:
        raise FilesystemError(
            f"its FAT filesystem needs {end} sectors, the partition has {sectors}"
        )
    table_at = (boot.reserved + boot.active_table * boot.table_sectors) * boot.sector_bytes
    if read_at(table_at, 1) != bytes([boot.media]):
        raise FilesystemError("its FAT does not begin with the media byte")
    if _is_dirty(first, boot, read_at(table_at, 8)):
        return whole("fat", sectors, "its FAT filesystem was not unmounted: stored whole")
    used = [(0, boot.data_start * factor)]
    cluster_bytes = boot.cluster_sectors * boot.sector_bytes
    clusters = _used_clusters(read_at, boot, table_at)
    used += to_sectors(merge(clusters), cluster_bytes, boot.data_start * factor)
    used.append(((boot.data_start + boot.clusters * boot.cluster_sectors) * factor, end))
    return Usage("fat", tuple(merge(used)), end)


def _parse(data: bytes) -> BootSector:
    sector_bytes, cluster_sectors, reserved, tables, root_entries, sectors16, media, table16 = (
        struct.unpack_from("<HBHBHHBH", data, 11)
    )
    sectors32, table32, flags = struct.unpack_from("<IIH", data, 32)
    boot = BootSector(
        sector_bytes=sector_bytes,
        cluster_sectors=cluster_sectors,
        reserved=reserved,
        tables=tables,
        table_sectors=table16 or table32,
        root_entries=root_entries,
        sectors=sectors16 or sectors32,
        active_table=flags & 0xF if not table16 and flags & 0x80 else 0,
        media=media,
    )
    is_sound = sector_bytes in _SECTOR_SIZES and cluster_sectors and reserved and 1 <= tables <= 2  # noqa: PLR2004
    if not is_sound or boot.active_table >= tables or boot.sectors <= boot.data_start:
        raise FilesystemError("its FAT boot sector makes no sense")
    if -(-(boot.clusters + _FIRST_CLUSTER) * boot.bits // 8) > boot.table_sectors * sector_bytes:
        raise FilesystemError("its FAT is too small for its clusters")
    return boot


def _is_dirty(first: bytes, boot: BootSector, table: bytes) -> bool:
    """Whether a file may have clusters that the table does not know; FAT12 has no mark for it.

    Linux marks the first sector, Windows the table.
    """
    if boot.bits not in _SOUND:
        return False
    size = boot.bits // 8
    entry, sound = int.from_bytes(table[size : 2 * size], "little"), _SOUND[boot.bits]
    return bool(first[_STATE_AT[boot.bits]] & _DIRTY) or entry & sound != sound


def _used_clusters(read_at: ReadAt, boot: BootSector, table_at: int) -> Iterator[Range]:
    """Yield runs of used clusters, counted from the first one."""
    length = -(-(boot.clusters + _FIRST_CLUSTER) * boot.bits // 8)
    if boot.bits == _FAT12:
        entries: Iterable[int] = _entries12(read_at(table_at, length + 1), boot.clusters)
        yield from _runs(entries, -_FIRST_CLUSTER)
        return
    size = boot.bits // 8
    for start in range(0, length, _TABLE_PART):
        data = read_at(table_at + start, min(_TABLE_PART, length - start))
        if len(data) % size or not data:
            raise FilesystemError("its FAT cannot be read")
        view = memoryview(data)
        words = view.cast("H") if boot.bits == _FAT16 else view.cast("I")
        yield from _runs(words, start // size - _FIRST_CLUSTER, 0x0FFFFFFF)


def _entries12(data: bytes, clusters: int) -> Iterator[int]:
    for number in range(clusters + _FIRST_CLUSTER):
        word = int.from_bytes(data[number * 3 // 2 :][:2], "little")
        yield word >> 4 if number % 2 else word & 0xFFF


def _runs(entries: Iterable[int], first: int, mask: int = 0xFFFF) -> Iterator[Range]:
    start = None
    number = first
    for number, entry in enumerate(entries, first):
        is_used = number >= 0 and entry & mask
        if is_used and start is None:
            start = number
        elif not is_used and start is not None:
            yield start, number
            start = None
    if start is not None:
        yield start, number + 1
