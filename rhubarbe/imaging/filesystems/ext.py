"""The used blocks of ext2, ext3 and ext4, as their block bitmaps say.

Where groups have no bitmap yet (BLOCK_UNINIT), their own metadata counts as used: the backup
superblock and descriptors, and whatever bitmaps and inode tables lie there. Source: the on-disk
format as in the Linux kernel's documentation (Documentation/filesystems/ext4).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from rhubarbe.imaging.errors import FilesystemError
from rhubarbe.imaging.filesystems.usage import (
    Range,
    ReadAt,
    Usage,
    merge,
    set_bits,
    to_sectors,
    whole,
)
from rhubarbe.ndz.header import SECTOR

MAGIC = b"\x53\xef"
_SUPERBLOCK = 1024
_VALID, _ERRORS = 1, 2

_HAS_JOURNAL, _SPARSE_SUPER2 = 0x4, 0x200  # compat
_RECOVER, _JOURNAL_DEVICE, _META_BG, _64BIT = 0x4, 0x8, 0x10, 0x80  # incompat
_SPARSE_SUPER, _GDT_CHECKSUM, _BIGALLOC, _METADATA_CHECKSUM = 0x1, 0x10, 0x200, 0x400  # ro_compat
_BLOCK_UNINIT = 0x2

_GROUPS_MAX = 1 << 20
"""A filesystem of 8 TiB has as many, of 8 MiB each, with blocks of 1 KiB; others have fewer."""

_DESCRIPTOR = struct.Struct("<III2xH2xH12x")
_MIN_DESCRIPTOR, _DESCRIPTOR_64BIT = 32, 64


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the superblock says, as far as it matters here; sizes in blocks unless named."""

    blocks: int
    first_block: int
    block_bytes: int
    group_blocks: int
    cluster_blocks: int
    group_inodes: int
    inode_bytes: int
    compat: int
    incompat: int
    ro_compat: int
    state: int
    journal_inode: int
    reserved_descriptors: int
    descriptor_bytes: int
    first_meta_bg: int
    backup_groups: tuple[int, int]

    @property
    def groups(self) -> int:
        """Number of block groups."""
        return -(-(self.blocks - self.first_block) // self.group_blocks)

    @property
    def descriptors_a_block(self) -> int:
        """Descriptors in one block, which is also the size of a meta group."""
        return self.block_bytes // self.descriptor_bytes

    @property
    def descriptor_blocks(self) -> int:
        """Blocks that the descriptors of all groups fill."""
        return -(-self.groups // self.descriptors_a_block)

    def group_start(self, group: int) -> int:
        """Return the first block of a group."""
        return self.first_block + group * self.group_blocks

    def has_backup(self, group: int) -> bool:
        """Whether the group starts with a superblock."""
        if group == 0:
            return True
        if self.compat & _SPARSE_SUPER2:
            return group in self.backup_groups
        if group == 1 or not self.ro_compat & _SPARSE_SUPER:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))


@dataclass(frozen=True, slots=True)
class _Group:
    """One group's descriptor: block numbers."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    is_uninit: bool


def find_usage(read_at: ReadAt, sectors: int) -> Usage:
    """Return the used ranges of the filesystem; raise FilesystemError where it makes no sense."""
    superblock = _parse(read_at(_SUPERBLOCK, 1024))
    end = superblock.blocks * superblock.block_bytes // SECTOR
    if end > sectors:
        raise FilesystemError(
            f"its ext filesystem needs {end} sectors, the partition has {sectors}"
        )
    if reason := _distrust(superblock):
        return whole("ext", sectors, f"{reason}: stored whole")
    used = merge(_used_blocks(read_at, superblock))
    in_sectors = to_sectors(used, superblock.block_bytes)
    return Usage("ext", tuple((start, min(stop, end)) for start, stop in in_sectors), end)


def _used_blocks(read_at: ReadAt, superblock: Superblock) -> Iterator[Range]:
    yield 0, superblock.group_start(0) + 1
    for number, group in enumerate(_read_groups(read_at, superblock)):
        yield from _own_metadata(superblock, number, group)
        if not group.is_uninit:
            yield from _allocated(read_at, superblock, number, group)


def _distrust(superblock: Superblock) -> str:
    """Return why the bitmaps may not say what is used; '' where they do.

    A journal to replay may hold newer bitmaps than those on the disk, and the blocks that they
    give out are already written; a filesystem that was not unmounted, or has errors, may have
    used blocks that its bitmaps do not know.
    """
    if superblock.incompat & _JOURNAL_DEVICE:
        return "an external ext journal"
    if superblock.compat & _HAS_JOURNAL and not superblock.journal_inode:
        return "its ext journal is on another device"
    if superblock.incompat & _RECOVER:
        return "its ext journal is yet to be replayed"
    if superblock.state & _ERRORS:
        return "its ext filesystem has errors"
    if not superblock.state & _VALID:
        return "its ext filesystem was not unmounted"
    return ""


def _parse(data: bytes) -> Superblock:
    if len(data) < _SUPERBLOCK or data[56:58] != MAGIC:
        raise FilesystemError("no ext superblock")
    blocks, first_block, log_block, log_cluster, group_blocks, group_inodes = (
        *struct.unpack_from("<I", data, 0x4),
        *struct.unpack_from("<III", data, 0x14),
        *struct.unpack_from("<I", data, 0x20),
        *struct.unpack_from("<I", data, 0x28),
    )
    state, revision = (
        struct.unpack_from("<H", data, 0x3A)[0],
        struct.unpack_from("<I", data, 0x4C)[0],
    )
    compat, incompat, ro_compat = struct.unpack_from("<III", data, 0x5C)
    is_64bit = bool(incompat & _64BIT)
    if is_64bit:
        blocks |= struct.unpack_from("<I", data, 0x150)[0] << 32
    superblock = Superblock(
        blocks=blocks,
        first_block=first_block,
        block_bytes=1024 << min(log_block, 16),
        group_blocks=group_blocks,
        cluster_blocks=1 << min(log_cluster - log_block, 16) if ro_compat & _BIGALLOC else 1,
        group_inodes=group_inodes,
        inode_bytes=struct.unpack_from("<H", data, 0x58)[0] if revision else 128,
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
        state=state,
        journal_inode=struct.unpack_from("<I", data, 0xE0)[0],
        reserved_descriptors=struct.unpack_from("<H", data, 0xCE)[0],
        descriptor_bytes=(
            max(struct.unpack_from("<H", data, 0xFE)[0], _DESCRIPTOR_64BIT)
            if is_64bit
            else _MIN_DESCRIPTOR
        ),
        first_meta_bg=struct.unpack_from("<I", data, 0x104)[0],
        backup_groups=struct.unpack_from("<II", data, 0x24C),
    )
    _check(superblock)
    return superblock


def _check(superblock: Superblock) -> None:
    s = superblock
    clusters = s.group_blocks // s.cluster_blocks
    if (
        not 1024 <= s.block_bytes <= 65536  # noqa: PLR2004
        or s.blocks <= s.first_block
        or not 0 < clusters <= 8 * s.block_bytes
        or s.groups > _GROUPS_MAX
        or s.descriptor_bytes > s.block_bytes
        or not 0 < s.inode_bytes <= s.block_bytes
    ):
        raise FilesystemError("its ext superblock makes no sense")


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


def _read_groups(read_at: ReadAt, superblock: Superblock) -> list[_Group]:
    groups: list[_Group] = []
    for number in range(superblock.descriptor_blocks):
        block = _descriptor_block(superblock, number)
        data = read_at(block * superblock.block_bytes, superblock.block_bytes)
        if len(data) < superblock.block_bytes:
            raise FilesystemError(f"its ext descriptors at block {block} cannot be read")
        for at in range(0, len(data), superblock.descriptor_bytes):
            if len(groups) < superblock.groups:
                groups.append(_parse_descriptor(superblock, data, at))
    return groups


def _descriptor_block(superblock: Superblock, number: int) -> int:
    """Return where that block of descriptors is: after the superblock, or in its meta group."""
    s = superblock
    if not s.incompat & _META_BG or number < s.first_meta_bg:
        return s.first_block + 1 + number + _small_block_shift(s)
    group = number * s.descriptors_a_block
    shift = _small_block_shift(s) if group == 0 else 0
    return s.group_start(group) + s.has_backup(group) + shift


def _small_block_shift(superblock: Superblock) -> int:
    """With clusters of 1 KiB blocks, block 0 is the first group's, the superblock block 1."""
    return int(superblock.block_bytes == _SUPERBLOCK and superblock.first_block == 0)


def _parse_descriptor(superblock: Superblock, data: bytes, at: int) -> _Group:
    block_bitmap, inode_bitmap, inode_table, _, flags = _DESCRIPTOR.unpack_from(data, at)
    if superblock.incompat & _64BIT:
        high = struct.unpack_from("<III", data, at + 0x20)
        block_bitmap |= high[0] << 32
        inode_bitmap |= high[1] << 32
        inode_table |= high[2] << 32
    has_flags = superblock.ro_compat & (_GDT_CHECKSUM | _METADATA_CHECKSUM)
    is_uninit = bool(has_flags and flags & _BLOCK_UNINIT)
    return _Group(block_bitmap, inode_bitmap, inode_table, is_uninit)


def _own_metadata(superblock: Superblock, number: int, group: _Group) -> list[Range]:
    """Return the blocks that a group's metadata takes, wherever flex_bg has put them."""
    s = superblock
    table_blocks = -(-s.group_inodes * s.inode_bytes // s.block_bytes)
    ranges = [
        (group.block_bitmap, group.block_bitmap + 1),
        (group.inode_bitmap, group.inode_bitmap + 1),
        (group.inode_table, group.inode_table + table_blocks),
    ]
    if any(end > s.blocks for _, end in ranges):
        raise FilesystemError(f"its ext group {number} points beyond the filesystem")
    start = s.group_start(number)
    has_backup = s.has_backup(number)
    after_backup = start + (1 + _small_block_shift(s) if has_backup else 0)
    meta_group, in_meta_group = divmod(number, s.descriptors_a_block)
    if s.incompat & _META_BG and meta_group >= s.first_meta_bg:
        is_holder = in_meta_group in {0, 1, s.descriptors_a_block - 1}
        ranges.append((start, min(after_backup + is_holder, s.blocks)))
    elif has_backup:
        descriptors = s.first_meta_bg if s.incompat & _META_BG else s.descriptor_blocks
        end = after_backup + descriptors + s.reserved_descriptors
        ranges.append((start, min(end, s.blocks)))
    return ranges


def _allocated(read_at: ReadAt, superblock: Superblock, number: int, group: _Group) -> list[Range]:
    s = superblock
    bitmap = read_at(group.block_bitmap * s.block_bytes, s.block_bytes)
    if len(bitmap) < s.block_bytes:
        raise FilesystemError(f"the bitmap of its ext group {number} cannot be read")
    start = s.group_start(number)
    clusters = -(-min(s.group_blocks, s.blocks - start) // s.cluster_blocks)
    return [
        (start + first * s.cluster_blocks, min(start + last * s.cluster_blocks, s.blocks))
        for first, last in set_bits(bitmap, clusters)
    ]
