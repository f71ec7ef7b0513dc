"""The structure of ext2, ext3 and ext4: the superblock, and the descriptors of block groups.

All integers are little-endian. Source: the on-disk format as in the Linux kernel's documentation
(Documentation/filesystems/ext4).
"""

import struct
from dataclasses import dataclass

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.reading import ReadAt

MAGIC = b"\x53\xef"
SUPERBLOCK = 1024
"""Byte where the superblock is, and how long it is."""

VALID, ERRORS = 1, 2  # state
HAS_JOURNAL, SPARSE_SUPER2 = 0x4, 0x200  # compat
RECOVER, JOURNAL_DEVICE, META_BG, HAS_64BIT = 0x4, 0x8, 0x10, 0x80  # incompat
SPARSE_SUPER, GDT_CHECKSUM, BIGALLOC, METADATA_CHECKSUM = 0x1, 0x10, 0x200, 0x400  # ro_compat
_BLOCK_UNINIT = 0x2

_GROUPS_MAX = 1 << 20
"""A filesystem of 8 TiB has as many, of 8 MiB each, with blocks of 1 KiB; others have fewer."""

LARGEST_BLOCK = 65536
_DESCRIPTOR = struct.Struct("<III2xH2xH12x")
_MIN_DESCRIPTOR, _DESCRIPTOR_64BIT = 32, 64
_LEAST_INODE = 128


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
    def has_inodes(self) -> bool:
        """Whether there are inodes, which fill their blocks: a journal's device has none."""
        is_whole = self.inode_bytes >= _LEAST_INODE and self.block_bytes % self.inode_bytes == 0
        return is_whole and self.group_inodes > 0

    @property
    def descriptors_a_block(self) -> int:
        """Descriptors in one block, which is also the size of a meta group."""
        return self.block_bytes // self.descriptor_bytes

    @property
    def descriptor_blocks(self) -> int:
        """Blocks that the descriptors of all groups fill."""
        return -(-self.groups // self.descriptors_a_block)

    @property
    def past_superblock(self) -> int:
        """Blocks from the start of a group to past its superblock.

        That is its first block, but for clusters of blocks of 1 KiB: block 0 is the first group's
        then, and the superblock is in block 1.
        """
        return 2 if self.block_bytes == SUPERBLOCK and self.first_block == 0 else 1

    def group_start(self, group: int) -> int:
        """Return the first block of a group."""
        return self.first_block + group * self.group_blocks

    def has_backup(self, group: int) -> bool:
        """Whether the group starts with a superblock."""
        if group == 0:
            return True
        if self.compat & SPARSE_SUPER2:
            return group in self.backup_groups
        if group == 1 or not self.ro_compat & SPARSE_SUPER:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))

    def descriptor_block(self, number: int) -> int:
        """Return where that block of descriptors is: after the superblock, or in its meta group."""
        if not self.incompat & META_BG or number < self.first_meta_bg:
            return self.first_block + number + self.past_superblock
        group = number * self.descriptors_a_block
        if group == 0:
            return self.group_start(0) + self.past_superblock
        return self.group_start(group) + self.has_backup(group)


@dataclass(frozen=True, slots=True)
class Group:
    """One group's descriptor: block numbers."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    is_uninit: bool


def read_superblock(read_at: ReadAt) -> Superblock:
    """Read the superblock of what begins at byte 0; raise FilesystemError where it makes no sense.

    What is returned has no sizes of nothing, and at most a million groups.
    """
    data = read_at(SUPERBLOCK, SUPERBLOCK)
    if len(data) < SUPERBLOCK or data[56:58] != MAGIC:
        raise FilesystemError("no ext superblock")
    superblock = _parse(data)
    if not _is_sane(superblock):
        raise FilesystemError("its ext superblock makes no sense")
    return superblock


def _parse(data: bytes) -> Superblock:
    def number(at: int, size: int = 4) -> int:
        return int.from_bytes(data[at : at + size], "little")

    compat, incompat, ro_compat = number(0x5C), number(0x60), number(0x64)
    is_64bit = bool(incompat & HAS_64BIT)
    log_block, log_cluster = number(0x18), number(0x1C)
    return Superblock(
        blocks=number(0x4) | (number(0x150) << 32 if is_64bit else 0),
        first_block=number(0x14),
        block_bytes=1024 << min(log_block, 16),
        group_blocks=number(0x20),
        cluster_blocks=_power(log_cluster - log_block) if ro_compat & BIGALLOC else 1,
        group_inodes=number(0x28),
        inode_bytes=number(0x58, 2) if number(0x4C) else _LEAST_INODE,
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
        state=number(0x3A, 2),
        journal_inode=number(0xE0),
        reserved_descriptors=number(0xCE, 2),
        descriptor_bytes=max(number(0xFE, 2), _DESCRIPTOR_64BIT) if is_64bit else _MIN_DESCRIPTOR,
        first_meta_bg=number(0x104),
        backup_groups=(number(0x24C), number(0x250)),
    )


def _power(exponent: int) -> int:
    return 1 << min(exponent, 16) if exponent >= 0 else 0


def _is_sane(s: Superblock) -> bool:
    """Whether all is of a size that can be; entries of tables fill their blocks."""
    return (
        s.block_bytes <= LARGEST_BLOCK
        and s.first_block < s.blocks
        and 0 < s.cluster_blocks <= s.group_blocks <= 8 * s.block_bytes * s.cluster_blocks
        and s.groups <= _GROUPS_MAX
        and s.block_bytes % s.descriptor_bytes == 0
        and 0 < s.inode_bytes <= s.block_bytes
    )


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


def parse_descriptor(superblock: Superblock, data: bytes, at: int) -> Group:
    """Read the descriptor of a group that begins at byte `at` of a whole block of them."""
    block_bitmap, inode_bitmap, inode_table, _, flags = _DESCRIPTOR.unpack_from(data, at)
    if superblock.incompat & HAS_64BIT:
        high = struct.unpack_from("<III", data, at + 0x20)
        block_bitmap |= high[0] << 32
        inode_bitmap |= high[1] << 32
        inode_table |= high[2] << 32
    has_flags = superblock.ro_compat & (GDT_CHECKSUM | METADATA_CHECKSUM)
    is_uninit = bool(has_flags and flags & _BLOCK_UNINIT)
    return Group(block_bitmap, inode_bitmap, inode_table, is_uninit)
