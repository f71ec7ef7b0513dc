"""The trees of btrfs: from logical addresses to places on the disk, and from a root to its leaves.

Whatever is not as it should be raises FilesystemError. Source: the on-disk format as in btrfs's
documentation ("On-disk Format") and the Linux kernel's include/uapi/linux/btrfs_tree.h.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.reading import ReadAt

CHUNK_ITEM = 228
KEY = struct.Struct("<QBQ")
CHECKSUM_ROOM = 32

_CHUNK = struct.Struct("<Q16xQ12xHH")
_COPY = struct.Struct("<QQ16x")
_COPIES_MAX = 4
_STRIPED = 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8
"""RAID0, RAID10, RAID5, RAID6: the data of a chunk alternates between its stripes."""

_HEADER = struct.Struct("<16sQ8x16xQ8xIB")
_HEADER_END = 101
_ITEM = struct.Struct("<QBQII")
_POINTER = struct.Struct("<17xQQ")
LEVEL_MAX = 7


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a leaf: its key, and where its data is in the leaf."""

    object_id: int
    kind: int
    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class Chunk:
    """A range of logical addresses, in bytes, and where on the disk all its copies begin."""

    start: int
    length: int
    copies: tuple[int, ...]

    @property
    def end(self) -> int:
        """Address past the chunk."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class TreeRoot:
    """Where a tree begins."""

    address: int
    level: int
    generation: int


@dataclass(slots=True)
class ChunkMap:
    """Chunks by their address."""

    device: int
    device_bytes: int
    chunks: list[Chunk] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def add(self, start: int, data: bytes | memoryview) -> int:
        """Take in a chunk item; return how many bytes of the data it takes."""
        if len(data) < _CHUNK.size:
            raise FilesystemError("a chunk of its btrfs filesystem is cut short")
        length, kind, count, _ = _CHUNK.unpack_from(data)
        size: int = _CHUNK.size + count * _COPY.size
        if not 1 <= count <= _COPIES_MAX or len(data) < size or not length:
            raise FilesystemError("a chunk of its btrfs filesystem makes no sense")
        stripes = [_COPY.unpack_from(data, at) for at in range(_CHUNK.size, size, _COPY.size)]
        if any(device != self.device for device, _ in stripes) or (kind & _STRIPED and count > 1):
            raise FilesystemError("its btrfs filesystem spreads over several devices")
        if any(at + length > self.device_bytes for _, at in stripes):
            raise FilesystemError("a chunk of its btrfs filesystem is beyond its end")
        self._insert(Chunk(start, length, tuple(at for _, at in stripes)))
        return size

    def _insert(self, chunk: Chunk) -> None:
        number = bisect_right(self.starts, chunk.start)
        if number and self.chunks[number - 1] == chunk:
            return  # in the superblock and in the tree
        is_clear = (number == 0 or self.chunks[number - 1].end <= chunk.start) and (
            number == len(self.chunks) or chunk.end <= self.chunks[number].start
        )
        if not is_clear:
            raise FilesystemError("the chunks of its btrfs filesystem overlap")
        self.chunks.insert(number, chunk)
        self.starts.insert(number, chunk.start)

    def places(self, address: int, length: int) -> list[int]:
        """Return where on the disk all copies of a logical range are."""
        number = bisect_right(self.starts, address) - 1
        if number < 0 or address + length > self.chunks[number].end:
            raise FilesystemError(f"its btrfs address {address} is in no chunk")
        chunk = self.chunks[number]
        return [copy + address - chunk.start for copy in chunk.copies]


@dataclass(frozen=True, slots=True)
class Trees:
    """Reads nodes; of one that is damaged, the next copy serves, as it does for the kernel."""

    read_at: ReadAt
    chunks: ChunkMap
    node_bytes: int
    checksum: Callable[[bytes], bytes]
    filesystem_id: bytes

    def items(self, root: TreeRoot, kinds: Iterable[int]) -> Iterator[Item]:
        """Yield the items of those kinds, in the order of the tree."""
        wanted = frozenset(kinds)
        for leaf, count in self._leaves(root):
            area = memoryview(leaf)[_HEADER_END:]
            for object_id, kind, offset, at, size in _ITEM.iter_unpack(area[: count * _ITEM.size]):
                if kind in wanted:
                    if at + size > len(area):
                        raise FilesystemError("an item of its btrfs filesystem is cut short")
                    yield Item(object_id, kind, offset, area[at : at + size])

    def _leaves(self, root: TreeRoot) -> Iterator[tuple[bytes, int]]:
        """Yield the leaves from the left to the right, with the number of their items."""
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            place = waiting.pop()
            if place.address in seen or not 0 <= place.level <= LEVEL_MAX:
                raise FilesystemError("a tree of its btrfs filesystem makes no sense")
            seen.add(place.address)
            node, count = self._node(place)
            size = _POINTER.size if place.level else _ITEM.size
            if count * size > self.node_bytes - _HEADER_END:
                raise FilesystemError("a node of its btrfs filesystem makes no sense")
            if place.level == 0:
                yield node, count
                continue
            pointers = memoryview(node)[_HEADER_END : _HEADER_END + count * size]
            below = [TreeRoot(at, place.level - 1, g) for at, g in _POINTER.iter_unpack(pointers)]
            waiting += reversed(below)

    def _node(self, place: TreeRoot) -> tuple[bytes, int]:
        for at in self.chunks.places(place.address, self.node_bytes):
            node = self.read_at(at, self.node_bytes)
            if len(node) < self.node_bytes:
                continue
            filesystem_id, address, generation, count, level = _HEADER.unpack_from(
                node, CHECKSUM_ROOM
            )
            found = (TreeRoot(address, level, generation), filesystem_id)
            if found == (place, self.filesystem_id) and self.is_sound(node):
                return node, count
        raise FilesystemError(f"its btrfs node at {place.address} is damaged")

    def is_sound(self, block: bytes) -> bool:
        """Whether a block is what its checksum says."""
        return block.startswith(self.checksum(block[CHECKSUM_ROOM:]))
