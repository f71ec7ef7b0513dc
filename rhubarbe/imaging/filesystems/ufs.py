"""The used fragments of UFS1 and UFS2, the filesystems of the BSDs, as their cylinder groups say.

What the map of a group calls free is left out, but never the group's own metadata. A map is
believed if it has as many free fragments as the group says, and all groups together as many as the
superblock says. UFS2 has inodes that were never used, whose blocks hold whatever was there before:
they are left out too. Integers are in the order of the machine that made it, which the magic number
shows. Sources: FreeBSD's manual page fs(5), and its header <ufs/ffs/fs.h>.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.ranges import Range, gaps, merge, set_bits, to_sectors
from rhubarbe.disk.reading import SECTOR, ReadAt
from rhubarbe.imaging.filesystems.usage import Usage, whole

SUPERBLOCKS = (65536, 8192, 0, 262144)
"""Bytes where the superblock may be, in the order in which systems look for it."""

MAGIC_AT = 1372
_UFS1, _UFS2 = 0x00011954, 0x19540119
_Order = Literal["little", "big"]
_ORDERS: tuple[_Order, ...] = ("little", "big")
MAGICS = tuple(magic.to_bytes(4, order) for magic in (_UFS1, _UFS2) for order in _ORDERS)

_SUPERBLOCK_BYTES = 1376
_NOT_FOR_UFS1 = 65536
"""A superblock of UFS1 that is found there is the first copy of a filesystem with large blocks."""

_CLEAN = 1
_UNSOUND = 0x1 | 0x4  # mounted although not clean; errors that wait for fsck
_JOURNALED = 0x40  # by gjournal: the newest blocks may still be in its journal, outside of it
_KNOWN_FLAGS = 0x7FF

_GROUP_MAGIC = 0x00090255
_GROUP_HEADER = 128
_INODE_BYTES = 256  # of UFS2
_BLOCK_SIZES = (4096, 8192, 16384, 32768, 65536)
_FRAGMENTS = (1, 2, 4, 8)
_GROUPS_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The integers of a structure, by their places in bytes."""

    data: bytes
    order: _Order

    def __call__(self, at: int, size: int = 4) -> int:
        return int.from_bytes(self.data[at : at + size], self.order)


@dataclass(frozen=True, slots=True)
class _Superblock:
    """What matters here, in fragments unless named; `metadata` is that of a group, from its start.

    `free` are all free fragments; `group_shift` and `group_mask` say how far the metadata of each
    group is shifted, which UFS1 did for the sake of rotating disks. `inodes` are those of a group,
    `inodes_a_block` is 0 where all of them are initialized.
    """

    order: _Order
    identity: tuple[int, bytes, int]
    size: int
    groups: int
    group_size: int
    fragment_bytes: int
    block_fragments: int
    group_block: int
    group_block_bytes: int
    first_inode_block: int
    inodes: int
    inodes_a_block: int
    metadata: Range
    group_shift: int
    group_mask: int
    summary: Range
    free: int
    is_clean: bool
    flags: int

    def metadata_start(self, group: int) -> int:
        """Return the fragment from which a group's metadata is counted."""
        shift = self.group_shift * (group & ~self.group_mask & 0xFFFFFFFF)
        return group * self.group_size + shift


def fragment_bytes(read_at: ReadAt) -> int:
    """Return the bytes of a fragment, the unit of what is read and written."""
    return _read_superblock(read_at).fragment_bytes


def find_usage(read_at: ReadAt, sectors: int) -> Usage:
    """Return the used ranges of the filesystem; raise FilesystemError where it makes no sense."""
    superblock = _read_superblock(read_at)
    end = superblock.size * superblock.fragment_bytes // SECTOR
    if end > sectors:
        raise FilesystemError(
            f"its ufs filesystem needs {end} sectors, the partition has {sectors}"
        )
    if reason := _distrust(superblock):
        return whole("ufs", sectors, f"{reason}: stored whole")
    used = merge(_used_fragments(read_at, superblock))
    return Usage("ufs", tuple(to_sectors(used, superblock.fragment_bytes)), end)


def _read_superblock(read_at: ReadAt) -> _Superblock:
    found = [each for at in SUPERBLOCKS if (each := _superblock_at(read_at, at))]
    if not found:
        raise FilesystemError("its ufs superblock makes no sense")
    if any(each.identity != found[0].identity for each in found):
        raise FilesystemError("it has superblocks of two ufs filesystems")
    return found[0]


def _superblock_at(read_at: ReadAt, at: int) -> _Superblock | None:
    """Return the superblock at a place, None where there is none, or only a copy of it."""
    data = read_at(at, _SUPERBLOCK_BYTES)
    if len(data) < _SUPERBLOCK_BYTES or data[MAGIC_AT:] not in MAGICS:
        return None
    order = next(o for o in _ORDERS if _Numbers(data, o)(MAGIC_AT) in {_UFS1, _UFS2})
    number = _Numbers(data, order)
    is_ufs2 = number(MAGIC_AT) == _UFS2
    if number(1000, 8) != at if is_ufs2 else at == _NOT_FOR_UFS1:
        return None
    fragment = number(52)
    summary = number(1096, 8) if is_ufs2 else number(152)
    totals = (1016, 1032, 8) if is_ufs2 else (196, 204, 4)
    blocks, fragments = number(totals[0], totals[2]), number(totals[1], totals[2])
    superblock = _Superblock(
        order=order,
        identity=(number(MAGIC_AT), data[144:152], fragment),
        size=number(1080, 8) if is_ufs2 else number(36),
        groups=number(44),
        group_size=number(188),
        fragment_bytes=fragment,
        block_fragments=number(56),
        group_block=number(12),
        group_block_bytes=number(160),
        first_inode_block=number(16),
        inodes=number(184),
        inodes_a_block=number(48) // _INODE_BYTES if is_ufs2 else 0,
        metadata=(number(8), number(20)),
        group_shift=0 if is_ufs2 else number(24),
        group_mask=0xFFFFFFFF if is_ufs2 else number(28),
        summary=(summary, summary + -(-number(156) // max(fragment, 1))),
        free=blocks * number(56) + fragments,
        is_clean=data[209] == _CLEAN,
        flags=number(1312) | data[211],  # where UFS1 had them
    )
    return superblock if _is_sane(superblock, number(48)) else None


def _is_sane(s: _Superblock, block_bytes: int) -> bool:
    """Whether all is of a size that can be, and a group's parts follow each other."""
    first, last = s.metadata
    return (
        block_bytes in _BLOCK_SIZES
        and s.block_fragments in _FRAGMENTS
        and s.fragment_bytes >= SECTOR
        and s.fragment_bytes * s.block_fragments == block_bytes
        and _GROUP_HEADER < s.group_block_bytes <= block_bytes
        and 0 < first < s.group_block < s.first_inode_block < last <= s.group_size
        and s.size > 0
        and s.groups == -(-s.size // s.group_size) <= _GROUPS_MAX
    )


def _distrust(superblock: _Superblock) -> str:
    """Return why the maps may not say what is used; '' where they do.

    With soft updates, journaled or not, the maps on the disk are those of some moment until it is
    unmounted; then nothing waits to be written or replayed, and it is marked as clean.
    """
    if not superblock.is_clean:
        return "its ufs filesystem was not unmounted"
    if superblock.flags & _UNSOUND:
        return "its ufs filesystem has errors"
    if superblock.flags & _JOURNALED:
        return "its ufs filesystem has a journal of gjournal"
    if unknown := superblock.flags & ~_KNOWN_FLAGS:
        return f"its ufs filesystem has features not known here ({unknown:#x})"
    return ""


def _used_fragments(read_at: ReadAt, superblock: _Superblock) -> Iterator[Range]:
    """Yield what is in use, and metadata whatever the maps say of it.

    That is the boot blocks, superblocks, maps and inodes of each group, and the summary of all.
    """
    s, free = superblock, 0
    yield 0, s.metadata[0]
    yield s.summary[0], min(s.summary[1], s.size)
    for group in range(s.groups):
        metadata = s.metadata_start(group)
        start = group * s.group_size
        end = min(start + s.group_size, s.size)
        if metadata + s.metadata[1] > end:
            raise FilesystemError(f"its ufs group {group} is too small for its metadata")
        number = _read_group(read_at, s, group)
        runs = _free_of_group(s, group, number, end - start)
        free += _total(runs)
        unused = _unused_inodes(s, group, number)
        yield metadata + s.metadata[0], metadata + unused[0]
        yield metadata + unused[1], metadata + s.metadata[1]
        left_out = [(start + low, start + high) for low, high in runs]
        left_out.append((metadata + unused[0], metadata + unused[1]))
        yield from gaps(merge(left_out), [(start, end)])
    if free != s.free:
        raise FilesystemError("not as much of its ufs filesystem is free as it says")


def _read_group(read_at: ReadAt, superblock: _Superblock, group: int) -> _Numbers:
    s = superblock
    at = (s.metadata_start(group) + s.group_block) * s.fragment_bytes
    number = _Numbers(read_at(at, s.group_block_bytes), s.order)
    if len(number.data) < s.group_block_bytes or number(4) != _GROUP_MAGIC or number(12) != group:
        raise FilesystemError(f"its ufs group {group} makes no sense")
    return number


def _free_of_group(
    superblock: _Superblock, group: int, number: _Numbers, count: int
) -> list[Range]:
    """Return the free runs of a group of `count` fragments, counted from its first one."""
    if number(20) != count:
        raise FilesystemError(f"its ufs group {group} makes no sense")
    free = _map(number, number(96), count, group)
    if _total(free) != number(28) * superblock.block_fragments + number(36):
        raise FilesystemError(f"not as much of its ufs group {group} is free as it says")
    return free


def _unused_inodes(superblock: _Superblock, group: int, number: _Numbers) -> Range:
    """Return the fragments, from the start of the metadata, of inodes that were never used.

    A group says how many of its inodes are initialized; those that are in use must be among them.
    """
    s, end = superblock, superblock.metadata[1]
    if not s.inodes_a_block or number(116) != s.inodes:
        return end, end
    initialized = number(120)
    used = _map(number, number(92), s.inodes, group)
    if initialized > s.inodes or (used and used[-1][1] > initialized):
        raise FilesystemError(f"the inodes of its ufs group {group} make no sense")
    first = s.first_inode_block + -(-initialized // s.inodes_a_block) * s.block_fragments
    last = s.first_inode_block + s.inodes // s.inodes_a_block * s.block_fragments
    return (first, last) if first <= last <= end else (end, end)


def _map(number: _Numbers, at: int, count: int, group: int) -> list[Range]:
    """Return the runs of bits that are set in a map of a group."""
    length = -(-count // 8)
    if not _GROUP_HEADER <= at <= len(number.data) - length:
        raise FilesystemError(f"its ufs group {group} makes no sense")
    return set_bits(number.data[at : at + length], count)


def _total(ranges: list[Range]) -> int:
    return sum(end - start for start, end in ranges)
