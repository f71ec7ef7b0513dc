"""On disks with which sectors a filesystem can be mounted: no larger than what it counts in."""

from rhubarbe.disk import ext
from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.filesystems import ufs
from rhubarbe.imaging.filesystems.marks import identify

_PAGE = 4096


def least_sector_size(read_at: ReadAt) -> int | None:
    """Return the unit, in bytes, that what is on a partition reads and writes; None if not known.

    Sources: the filesystems' headers in the Linux kernel, the FAT, exFAT and NTFS boot sectors,
    FreeBSD's fs(5).
    """
    kinds = identify(read_at)
    try:
        return _unit(kinds[0], read_at) if len(kinds) == 1 else None
    except FilesystemError:
        return None


def _unit(kind: str, read_at: ReadAt) -> int | None:
    def number(offset: int, size: int) -> int:
        return int.from_bytes(read_at(offset, size), "little")

    units = {
        "ext": lambda: ext.read_superblock(read_at).block_bytes,
        "xfs": lambda: int.from_bytes(read_at(102, 2), "big"),
        "btrfs": lambda: number(65536 + 0x90, 4),
        "fat": lambda: number(11, 2),
        "ntfs": lambda: number(11, 2),
        "exfat": lambda: 1 << min(number(108, 1), 12),
        "f2fs": lambda: 1 << min(number(1024 + 8, 4), 12),
        "swap": lambda: _PAGE,
        "ufs": lambda: ufs.fragment_bytes(read_at),
    }
    return units[kind]() if kind in units else None
