"""The marks by which a partition is known: where each kind writes what it is recognized by.

The type in the partition table may lie, and often does. A partition may bear the marks of several
kinds: of what it holds, and of what it held before. Sources: the kernel's headers, and the formats'
own documents.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rhubarbe.disk import ext
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.filesystems import btrfs, fat, swap, ufs
from rhubarbe.ndz.header import SECTOR

CONTAINERS = frozenset({"lvm", "luks", "bitlocker", "bcache", "RAID member (md)", "RAID member"})
"""What may hold anything: a filesystem's mark inside of it is only leftover or content."""


@dataclass(frozen=True, slots=True)
class _Mark:
    kind: str
    offset: int
    mark: bytes


_LUKS2_SECOND_HEADERS = tuple(1 << shift for shift in range(14, 23))
_BITLOCKER = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
_BCACHE = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
_BCACHEFS = bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")

_MARKS = (
    _Mark("luks", 0, b"LUKS\xba\xbe"),
    *(_Mark("luks", at, b"SKUL\xba\xbe") for at in _LUKS2_SECOND_HEADERS),
    *(_Mark("lvm", at, b"LABELONE") for at in (512, 0, 1024, 1536)),
    _Mark("bitlocker", 3, b"-FVE-FS-"),
    _Mark("bitlocker", 160, _BITLOCKER),
    _Mark("bitlocker", 424, _BITLOCKER),
    _Mark("bcache", 4096 + 24, _BCACHE),
    _Mark("ext", 1024 + 56, ext.MAGIC),
    _Mark("xfs", 0, b"XFSB"),
    _Mark("btrfs", btrfs.MAGIC_AT, btrfs.MAGIC),
    _Mark("ntfs", 3, b"NTFS    "),
    _Mark("exfat", 3, b"EXFAT   "),
    _Mark("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    _Mark("iso9660", 32768 + 1, b"CD001"),
    *(_Mark("udf", 32768 + 2048 * n + 1, b"NSR0") for n in range(1, 16)),
    _Mark("bcachefs", 4096 + 24, _BCACHEFS),
    _Mark("jfs", 32768, b"JFS1"),
    *(_Mark("reiserfs", at, b"ReIsEr") for at in (8192 + 52, 65536 + 52, 65536)),
    _Mark("gfs2", 65536, b"\x01\x16\x19\x70"),
    *(_Mark("ocfs2", 512 << shift, b"OCFSV2") for shift in range(1, 5)),
    *(_Mark("ufs", at + ufs.MAGIC_AT, magic) for at in ufs.SUPERBLOCKS for magic in ufs.MAGICS),
    _Mark("hfs+", 1024, b"H+\0\4"),
    _Mark("hfs+", 1024, b"HX\0\5"),
    _Mark("apfs", 32, b"NXSB"),
    _Mark("squashfs", 0, b"hsqs"),
    _Mark("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    _Mark("vmfs", (1 << 20), b"\x0d\xd0\x01\xc0"),
    _Mark("vmfs", (2 << 20), b"\x5e\xf1\xab\x2f"),
)

_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_MD = 0xA92B4EFC
_MD_SUPER_OFFSET = 144
_MD_090_ALIGNMENT = 64 << 10
_DDF = b"\xde\x11\xde\x11"
_ISW = b"Intel Raid ISM Cfg Sig. "

_ZFS_LABEL, _ZFS_UBERBLOCKS, _ZFS_STEP = 256 << 10, 128 << 10, 1 << 10
_ZFS = frozenset((0x00BAB10C).to_bytes(8, order) for order in _ORDERS)


def identify(read_at: ReadAt, sectors: int = 0) -> tuple[str, ...]:
    """Return every kind whose mark the partition bears; a container stands alone.

    Where its sectors are not given, the marks at its end are not looked for.
    """
    kinds = [m.kind for m in _MARKS if read_at(m.offset, len(m.mark)) == m.mark]
    kinds += _raid(read_at, sectors)
    for kind in kinds:
        if kind in CONTAINERS:
            return (kind,)
    if fat.is_fat(read_at(0, SECTOR)):
        kinds.append("fat")
    if swap.is_swap(read_at):
        kinds.append("swap")
    if _is_zfs(read_at, sectors):
        kinds.append("zfs")
    return tuple(dict.fromkeys(kinds))


def _raid(read_at: ReadAt, sectors: int) -> Iterator[str]:
    """Yield what kind of RAID has it as a member, by superblocks at its start or its end."""
    for at in (0, 8, (sectors - 16) & ~7):  # formats 1.1, 1.2 and 1.0
        superblock = read_at(at * SECTOR, 256).ljust(256, b"\0") if at >= 0 else bytes(256)
        own = struct.unpack_from("<Q", superblock, _MD_SUPER_OFFSET)[0]
        if struct.unpack_from("<II", superblock) == (_MD, 1) and own == at:
            yield "RAID member (md)"
    size = sectors * SECTOR
    at = size // _MD_090_ALIGNMENT * _MD_090_ALIGNMENT - _MD_090_ALIGNMENT
    head = read_at(at, 8) if at >= 0 else b""
    if any(head == _MD.to_bytes(4, order) + bytes(4) for order in _ORDERS):
        yield "RAID member (md)"
    last = read_at(size - 2 * SECTOR, 2 * SECTOR) if sectors > 1 else b""
    if last.startswith(_ISW) or last[SECTOR:].startswith(_DDF):
        yield "RAID member"


def _is_zfs(read_at: ReadAt, sectors: int) -> bool:
    """Whether one of the four labels has an uberblock."""
    size = sectors * SECTOR // _ZFS_LABEL * _ZFS_LABEL
    for at in (0, _ZFS_LABEL, size - 2 * _ZFS_LABEL, size - _ZFS_LABEL):
        length = _ZFS_LABEL - _ZFS_UBERBLOCKS
        ring = read_at(at + _ZFS_UBERBLOCKS, length) if at >= 0 else b""
        if any(ring[slot : slot + 8] in _ZFS for slot in range(0, len(ring), _ZFS_STEP)):
            return True
    return False
