"""The used blocks of ext2, ext3 and ext4, as their block bitmaps say.

Where groups have no bitmap yet (BLOCK_UNINIT), their own metadata counts as used: the backup
superblock and descriptors, and whatever bitmaps and inode tables lie there. Source: the on-disk
format as in the Linux kernel's documentation (Documentation/filesystems/ext4).
"""

from collections.abc import Iterator

from rhubarbe.disk import ext
from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.ranges import Range, merge, set_bits, to_sectors
from rhubarbe.disk.reading import SECTOR, ReadAt
from rhubarbe.imaging.filesystems.usage import Usage, whole


def find_usage(read_at: ReadAt, sectors: int) -> Usage:
    """Return the used ranges of the filesystem; raise FilesystemError where it makes no sense."""
    superblock = ext.read_superblock(read_at)
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


def _used_blocks(read_at: ReadAt, superblock: ext.Superblock) -> Iterator[Range]:
    yield 0, superblock.group_start(0) + 1
    for number, group in enumerate(_read_groups(read_at, superblock)):
        yield from _own_metadata(superblock, number, group)
        if not group.is_uninit:
            yield from _allocated(read_at, superblock, number, group)


def _distrust(superblock: ext.Superblock) -> str:
    """Return why the bitmaps may not say what is used; '' where they do.

    A journal to replay may hold newer bitmaps than those on the disk, and the blocks that they
    give out are already written; a filesystem that was not unmounted, or has errors, may have
    used blocks that its bitmaps do not know.
    """
    if superblock.incompat & ext.JOURNAL_DEVICE:
        return "an external ext journal"
    if superblock.compat & ext.HAS_JOURNAL and not superblock.journal_inode:
        return "its ext journal is on another device"
    if superblock.incompat & ext.RECOVER:
        return "its ext journal is yet to be replayed"
    if superblock.state & ext.ERRORS:
        return "its ext filesystem has errors"
    if not superblock.state & ext.VALID:
        return "its ext filesystem was not unmounted"
    return ""


def _read_groups(read_at: ReadAt, superblock: ext.Superblock) -> list[ext.Group]:
    groups: list[ext.Group] = []
    for number in range(superblock.descriptor_blocks):
        block = superblock.descriptor_block(number)
        data = read_at(block * superblock.block_bytes, superblock.block_bytes)
        if len(data) < superblock.block_bytes:
            raise FilesystemError(f"its ext descriptors at block {block} cannot be read")
        for at in range(0, len(data), superblock.descriptor_bytes):
            if len(groups) < superblock.groups:
                groups.append(ext.parse_descriptor(superblock, data, at))
    return groups


def _own_metadata(superblock: ext.Superblock, number: int, group: ext.Group) -> list[Range]:
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
    after_backup = start + (s.past_superblock if has_backup else 0)
    meta_group, in_meta_group = divmod(number, s.descriptors_a_block)
    if s.incompat & ext.META_BG and meta_group >= s.first_meta_bg:
        is_holder = in_meta_group in {0, 1, s.descriptors_a_block - 1}
        ranges.append((start, min(after_backup + is_holder, s.blocks)))
    elif has_backup:
        descriptors = s.first_meta_bg if s.incompat & ext.META_BG else s.descriptor_blocks
        end = after_backup + descriptors + s.reserved_descriptors
        ranges.append((start, min(end, s.blocks)))
    return ranges


def _allocated(
    read_at: ReadAt, superblock: ext.Superblock, number: int, group: ext.Group
) -> list[Range]:
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
