"""Reading here and there in an ext2, ext3 or ext4 filesystem: small files, and directories.

What is rare on a node's root partition (inline data, meta block groups, encryption, links on the
way) is not understood; what was written to be read wrongly ends within bounds.
"""

import functools
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from rhubarbe.disk import ext
from rhubarbe.disk.errors import AbsentFile, FilesystemError
from rhubarbe.disk.reading import ReadAt, from_byte

LARGEST = 4 << 20
"""Most bytes of a directory or a file that are read."""
MOST_BYTES_READ = 32 << 20
"""In one filesystem: of a tree that was made to be endless, no more is read."""

ROOT = 2
DEEPEST = 5
# Incompatible features: file types, a journal to be replayed, extents, 64 bits, multiple mounts,
# flexible groups, values in inodes, the checksum's seed, large directories, inline data,
# encryption and folded case, which of the last three only some files have.
UNDERSTOOD = ext.RECOVER | ext.HAS_64BIT | 0x2 | 0x40 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000
UNDERSTOOD |= 0x38000
IN_EXTENTS = 0x80000
NOT_PLAIN = 0x800 | 0x10000000  # encrypted, inline data
EXTENTS_MAGIC = 0xF30A
UNWRITTEN = 0x8000  # extents longer than that read as zeros
DIRECT = 12
ENTRY_HEAD = 8  # bytes of a directory entry before its name

_INODE = struct.Struct("<H2xI24xI4x60s8xI")
_ENTRY = struct.Struct("<IHB")


@dataclass(frozen=True, slots=True)
class _Inode:
    mode: int
    size: int
    flags: int
    blocks: bytes


class ExtFilesystem:
    """The filesystem at byte `start` of a disk; raises FilesystemError where there is none.

    `is_unclean` says that its journal was not replayed: what is read may be out of date.
    Whatever is asked for raises FilesystemError, AbsentFile of what is not there, and what reading
    the disk raises.
    """

    def __init__(self, read_at: ReadAt, start: int) -> None:
        self._read_at = from_byte(read_at, start)
        self._left = MOST_BYTES_READ
        self._superblock = ext.read_superblock(self._read_at)
        if self._superblock.incompat & ~UNDERSTOOD or not self._superblock.has_inodes:
            raise FilesystemError("an ext filesystem of a kind that is not understood")
        self.is_unclean = bool(self._superblock.incompat & ext.RECOVER)
        self._block = self._superblock.block_bytes
        # Each look inflates a part of the image: what several need is kept.
        self._metadata = functools.lru_cache(maxsize=64)(self._read_block)
        self._entries = functools.lru_cache(maxsize=16)(self._read_entries)

    def read(self, path: str) -> bytes:
        """Return the content of the regular file at `path`, which is relative to the root."""
        number, inode = self._find(path)
        if not stat.S_ISREG(inode.mode):
            raise FilesystemError(f"{path}: inode {number} is no regular file")
        return self._content(inode)

    def size(self, path: str) -> int:
        """Return the size of the regular file at `path`; 0 where there is none, or something else.

        A link counts as nothing: what it leads to is counted where it is.
        """
        try:
            _, inode = self._find(path)
        except AbsentFile:
            return 0
        return inode.size if stat.S_ISREG(inode.mode) else 0

    def names(self, path: str) -> list[str]:
        """Return the names in the directory at `path`; none where there is no such directory."""
        try:
            number, inode = self._find(path)
        except AbsentFile:
            return []
        if not stat.S_ISDIR(inode.mode):
            return []
        return [name.decode(errors="replace") for name in self._entries(number)]

    def _find(self, path: str) -> tuple[int, _Inode]:
        number = ROOT
        for name in path.split("/"):
            entries = self._entries(number)
            if name.encode() not in entries:
                raise AbsentFile(f"no {path}")
            number = entries[name.encode()]
        return number, self._inode(number)

    def _read(self, block: int, length: int) -> bytes:
        """Return so many bytes, not fewer, from the start of a block on."""
        self._left -= max(length, 1024)
        if self._left < 0:
            raise FilesystemError("a filesystem that does not end")
        if block + -(-length // self._block) > self._superblock.blocks:
            raise FilesystemError("a block beyond the end of the filesystem")
        content = self._read_at(block * self._block, length)
        if len(content) < length:
            raise FilesystemError("a filesystem that is cut short")
        return content

    def _read_block(self, number: int) -> bytes:
        return self._read(number, self._block)

    def _inode(self, number: int) -> _Inode:
        if number < 1:
            raise FilesystemError("an entry without inode")
        s = self._superblock
        group, index = divmod(number - 1, s.group_inodes)
        if group >= s.groups:
            raise FilesystemError("an inode beyond the last group")
        holder, rank = divmod(group, s.descriptors_a_block)
        descriptors = self._metadata(s.descriptor_block(holder))
        table = ext.parse_descriptor(s, descriptors, rank * s.descriptor_bytes).inode_table
        block, within = divmod(index * s.inode_bytes, self._block)
        inode = self._metadata(table + block)
        mode, low, flags, blocks, high = _INODE.unpack_from(inode, within)
        return _Inode(mode, low | high << 32, flags, blocks)

    def _content(self, inode: _Inode) -> bytes:
        """Return what a file or directory holds."""
        if inode.flags & NOT_PLAIN or inode.size > LARGEST:
            raise FilesystemError("encrypted, inline, or too large")
        found = bytearray(inode.size)
        if inode.flags & IN_EXTENTS:
            runs = self._extents(inode.blocks, DEEPEST)
        else:
            runs = self._pointers(inode.blocks, -(-inode.size // self._block))
        for logical, count, physical in runs:
            at = logical * self._block
            length = min(count * self._block, inode.size - at)
            if length > 0:
                found[at : at + length] = self._read(physical, length)
        return bytes(found)

    def _extents(self, node: bytes, depth_left: int) -> Iterator[tuple[int, int, int]]:
        """Yield logical block, number of blocks, physical block."""
        magic, count, _, depth = struct.unpack_from("<HHHH", node)
        if magic != EXTENTS_MAGIC or depth_left < 0 or 12 * (count + 1) > len(node):
            raise FilesystemError("no extents")
        for rank in range(1, count + 1):
            if depth:
                _, low, high = struct.unpack_from("<IIH", node, 12 * rank)
                below = self._read(low | high << 32, self._block)
                yield from self._extents(below, depth_left - 1)
            else:
                logical, length, high, low = struct.unpack_from("<IHHI", node, 12 * rank)
                if length <= UNWRITTEN:
                    yield logical, length, low | high << 32

    def _pointers(self, blocks: bytes, needed: int) -> Iterator[tuple[int, int, int]]:
        """Yield the direct blocks, and those of the first indirect one."""
        *direct, indirect = struct.unpack_from(f"<{DIRECT + 1}I", blocks)
        pointers = list(direct)
        if indirect and needed > DIRECT:
            content = self._read(indirect, self._block)
            pointers += [pointer for (pointer,) in struct.iter_unpack("<I", content)]
        if needed > DIRECT + self._block // 4:
            raise FilesystemError("a file of too many blocks")
        for logical, physical in enumerate(pointers[:needed]):
            if physical:
                yield logical, 1, physical

    def _read_entries(self, number: int) -> dict[bytes, int]:
        """Return the inode numbers in a directory by name, but for itself and the one above."""
        inode = self._inode(number)
        if stat.S_ISLNK(inode.mode):
            raise FilesystemError(f"inode {number} is a link")
        if not stat.S_ISDIR(inode.mode):
            raise AbsentFile(f"inode {number} is no directory")
        content = self._content(inode)
        found: dict[bytes, int] = {}
        for start in range(0, len(content), self._block):
            found.update(_entries_of(content[start : start + self._block]))
        return found


def _entries_of(block: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield names and inode numbers; a block of a directory's index looks like an empty one."""
    at = 0
    while at + _ENTRY.size < len(block):
        number, length, name_length = _ENTRY.unpack_from(block, at)
        name = block[at + ENTRY_HEAD : at + ENTRY_HEAD + name_length]
        if number and name not in (b".", b".."):
            yield name, number
        if length in (0, ext.LARGEST_BLOCK - 1) and len(block) == ext.LARGEST_BLOCK:
            return
        if length < ENTRY_HEAD:
            raise FilesystemError("a directory that is none")
        at += length
