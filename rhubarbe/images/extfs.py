"""Reading one small file of an ext2, ext3 or ext4 filesystem.

Source: the layout as the kernel's documentation of ext4 tells it. All integers are little-endian.
What is rare on a node's root partition (inline data, meta block groups) is not understood.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

LARGEST = 4 << 20
"""Most bytes of a directory or a file that are read."""
PATIENCE = 16 << 20
"""Most bytes that are read for one file: a tree that was made to be endless ends there."""

MAGIC = 0xEF53
ROOT = 2
DEEPEST = 5
NOT_UNDERSTOOD = 0x10  # meta block groups
HAS_64BIT = 0x80
IN_EXTENTS = 0x80000
INLINE = 0x10000000
EXTENTS_MAGIC = 0xF30A
DIRECT = 12

_SUPER = struct.Struct("<20xII4xI4xI12xH30xH6xI154xH")
_INODE = struct.Struct("<H2xI24xI4x60s")
_ENTRY = struct.Struct("<IHB")


class Unreadable(Exception):
    """There is no such filesystem, or no such file, or it is kept in a way not understood."""


class Disk(Protocol):
    """What can be read."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from byte `offset` on."""
        ...


@dataclass(frozen=True, slots=True)
class _Inode:
    size: int
    flags: int
    blocks: bytes


def read_file(disk: Disk, start: int, path: str) -> bytes:
    """Return the file at `path` of the filesystem at byte `start`; raises Unreadable."""
    try:
        filesystem = _Filesystem(disk, start)
        number = ROOT
        for name in path.split("/"):
            number = filesystem.look_up(number, name.encode())
        return filesystem.content(number)
    except (struct.error, RecursionError) as error:
        raise Unreadable(f"{path}: {error}") from error


class _Filesystem:
    def __init__(self, disk: Disk, start: int) -> None:
        self._disk = disk
        self._start = start
        self._left = PATIENCE
        (first, log_size, _, self._per_group, magic, inode_size, incompatible, descriptor) = (
            _SUPER.unpack_from(disk.read(start + 1024, 1024))
        )
        if magic != MAGIC or log_size > 6 or not self._per_group or incompatible & NOT_UNDERSTOOD:  # noqa: PLR2004 - 64 KiB
            raise Unreadable("no ext filesystem")
        self._block = 1024 << log_size
        self._inode_size = inode_size or 128
        self._descriptor_size = descriptor if incompatible & HAS_64BIT else 32
        self._descriptors = (first + 1) * self._block

    def _read(self, offset: int, length: int) -> bytes:
        self._left -= length
        if self._left < 0:
            raise Unreadable("a filesystem that does not end")
        return self._disk.read(self._start + offset, length)

    def _inode(self, number: int) -> _Inode:
        group, index = divmod(number - 1, self._per_group)
        descriptor = self._read(
            self._descriptors + group * self._descriptor_size, self._descriptor_size
        )
        table = int.from_bytes(descriptor[8:12], "little")
        table |= int.from_bytes(descriptor[40:44], "little") << 32
        content = self._read(table * self._block + index * self._inode_size, 128)
        _, size, flags, blocks = _INODE.unpack_from(content)
        if flags & INLINE:
            raise Unreadable(f"inode {number}: inline data")
        return _Inode(min(size, LARGEST), flags, blocks)

    def content(self, number: int) -> bytes:
        """Return what a file or directory holds."""
        inode = self._inode(number)
        found = bytearray(inode.size)
        if inode.flags & IN_EXTENTS:
            runs = self._extents(inode.blocks, DEEPEST)
        else:
            runs = self._pointers(inode.blocks)
        for logical, count, physical in runs:
            at = logical * self._block
            length = min(count * self._block, inode.size - at)
            if length > 0:
                found[at : at + length] = self._read(physical * self._block, length)
        return bytes(found)

    def _extents(self, node: bytes, depth_left: int) -> Iterator[tuple[int, int, int]]:
        """Yield logical block, number of blocks, physical block."""
        magic, count, _, depth = struct.unpack_from("<HHHH", node)
        if magic != EXTENTS_MAGIC or depth_left < 0:
            raise Unreadable("no extents")
        for rank in range(1, count + 1):
            if depth:
                _, low, high = struct.unpack_from("<IIH", node, 12 * rank)
                below = self._read((low | high << 32) * self._block, self._block)
                yield from self._extents(below, depth_left - 1)
            else:
                logical, length, high, low = struct.unpack_from("<IHHI", node, 12 * rank)
                yield logical, length, low | high << 32

    def _pointers(self, blocks: bytes) -> Iterator[tuple[int, int, int]]:
        """Yield the direct blocks, and those of the first indirect one."""
        *direct, indirect = struct.unpack_from(f"<{DIRECT + 1}I", blocks)
        pointers = list(direct)
        if indirect:
            content = self._read(indirect * self._block, self._block)
            pointers += [pointer for (pointer,) in struct.iter_unpack("<I", content)]
        for logical, physical in enumerate(pointers):
            if physical:
                yield logical, 1, physical

    def look_up(self, directory: int, name: bytes) -> int:
        """Return the inode number of a name in a directory; raises Unreadable."""
        content = self.content(directory)
        at = 0
        while at + _ENTRY.size < len(content):
            number, length, name_length = _ENTRY.unpack_from(content, at)
            if number and content[at + 8 : at + 8 + name_length] == name:
                return int(number)
            at += max(length, 8)
        raise Unreadable(f"no {name.decode()}")
