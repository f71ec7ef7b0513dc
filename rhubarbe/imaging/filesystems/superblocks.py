"""What the superblocks of those kinds say whose used map partclone tells: their end, their state.

A used map is to be trusted only where nothing waits to be replayed, and all is on this device.
Sources: the Linux kernel's fs/xfs/libxfs/xfs_format.h, include/linux/f2fs_fs.h and
fs/ntfs3/ntfs.h, Microsoft's exFAT specification.
"""

import struct
from dataclasses import dataclass

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.reading import ReadAt
from rhubarbe.ndz.header import SECTOR

_XFS = struct.Struct(">4sIQQ24xQ")
_XFS_FREE_AT = 144
_EXFAT_LENGTH, _EXFAT_FLAGS, _EXFAT_SECTOR_SHIFT, _EXFAT_UNSOUND = 72, 106, 108, 0x6
_NTFS_SECTOR_BYTES, _NTFS_SECTORS = 11, 0x28
_F2FS_SUPERBLOCK, _F2FS_BLOCK, _F2FS_UNMOUNTED = 1024, 4096, 0x1
_F2FS_LOG_SEGMENT, _F2FS_BLOCKS, _F2FS_CHECKPOINT, _F2FS_DEVICES = 20, 36, 76, 2201
_SECTOR_BYTES = (512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True)
class FilesystemExtent:
    """Where a filesystem ends, in sectors, and how many of them it says are in use, at least."""

    end: int
    used: int = 0


def find_extent(kind: str, read_at: ReadAt) -> FilesystemExtent:
    """Return how far the filesystem reaches; raise FilesystemError where that is not all of it."""
    return {"xfs": _xfs, "ntfs": _ntfs, "exfat": _exfat, "f2fs": _f2fs}[kind](read_at)


def _xfs(read_at: ReadAt) -> FilesystemExtent:
    head = read_at(0, SECTOR).ljust(SECTOR, b"\0")
    _, block_bytes, blocks, realtime, log = _XFS.unpack_from(head)
    (free,) = struct.unpack_from(">Q", head, _XFS_FREE_AT)
    if realtime:
        raise FilesystemError("it has a realtime part on another device")
    if not log:
        raise FilesystemError("its log is on another device")
    factor = block_bytes // SECTOR
    return FilesystemExtent(blocks * factor, max(blocks - free, 0) * factor)


def _ntfs(read_at: ReadAt) -> FilesystemExtent:
    """Its second boot sector comes after the sectors that it counts."""
    head = read_at(0, SECTOR).ljust(SECTOR, b"\0")
    (sector_bytes,) = struct.unpack_from("<H", head, _NTFS_SECTOR_BYTES)
    (count,) = struct.unpack_from("<Q", head, _NTFS_SECTORS)
    if sector_bytes not in _SECTOR_BYTES:
        raise FilesystemError("its boot sector makes no sense")
    return FilesystemExtent((count + 1) * sector_bytes // SECTOR)


def _exfat(read_at: ReadAt) -> FilesystemExtent:
    head = read_at(0, SECTOR).ljust(SECTOR, b"\0")
    if int.from_bytes(head[_EXFAT_FLAGS:][:2], "little") & _EXFAT_UNSOUND:
        raise FilesystemError("its exfat filesystem was not unmounted, or has errors")
    sector_bytes = 1 << min(head[_EXFAT_SECTOR_SHIFT], 16)
    if sector_bytes not in _SECTOR_BYTES:
        raise FilesystemError("its boot sector makes no sense")
    return FilesystemExtent(
        int.from_bytes(head[_EXFAT_LENGTH:][:8], "little") * sector_bytes // SECTOR
    )


def _f2fs(read_at: ReadAt) -> FilesystemExtent:
    head = read_at(_F2FS_SUPERBLOCK, 3072).ljust(3072, b"\0")
    if head[_F2FS_DEVICES]:
        raise FilesystemError("it spreads over several devices")
    if not _is_f2fs_unmounted(read_at, head):
        raise FilesystemError("its f2fs filesystem was not unmounted")
    return FilesystemExtent(
        int.from_bytes(head[_F2FS_BLOCKS:][:8], "little") * _F2FS_BLOCK // SECTOR
    )


def _is_f2fs_unmounted(read_at: ReadAt, superblock: bytes) -> bool:
    """Whether the newest of the two checkpoints is whole, and was made by an unmount.

    What was written after any other one is found by rolling forward, not by its used map.
    """
    (log_segment,) = struct.unpack_from("<I", superblock, _F2FS_LOG_SEGMENT)
    (first,) = struct.unpack_from("<I", superblock, _F2FS_CHECKPOINT)
    packs = []
    for block in (first, first + (1 << min(log_segment, 16))):
        head = read_at(block * _F2FS_BLOCK, 140).ljust(140, b"\0")
        flags, blocks = struct.unpack_from("<II", head, 132)
        tail = read_at((block + max(blocks, 1) - 1) * _F2FS_BLOCK, 8)
        packs.append((int.from_bytes(head[:8], "little"), head[:8] == tail, flags))
    newest = max(version for version, _, _ in packs)
    return all(
        is_whole and flags & _F2FS_UNMOUNTED
        for version, is_whole, flags in packs
        if version == newest
    )
