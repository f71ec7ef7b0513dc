"""The used blocks of btrfs, as its extent tree says, in all the copies that its chunks have.

partclone.btrfs maps the first copy only, and would leave DUP without the second.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.ranges import Range, merge
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.filesystems import checksums
from rhubarbe.imaging.filesystems.btrfs_trees import CHUNK_ITEM, KEY, ChunkMap, TreeRoot, Trees
from rhubarbe.imaging.filesystems.usage import Usage
from rhubarbe.ndz.header import SECTOR

MAGIC = b"_BHRfS_M"
SUPERBLOCK = 64 << 10
MAGIC_AT = SUPERBLOCK + 64
COPIES = (SUPERBLOCK, 64 << 20, 256 << 30)
SUPERBLOCK_BYTES = 4096
_RESERVED = 1 << 20
"""Bytes at the start that btrfs leaves to boot loaders."""

_SUPERBLOCK = struct.Struct("<32x16sQQ8sQQQQ8xQQ8xQIIIIIQQQQHBBBQQ")
_METADATA_ID_AT, _SYSTEM_CHUNKS_AT, _SYSTEM_CHUNKS_MAX = 571, 811, 2048
_SOUND_FLAGS = 1 | 1 << 32
"""WRITTEN and SEEDING; others mean errors, a change under way, or a dump of metadata alone."""

_METADATA_UUID = 0x400
_KNOWN_INCOMPAT = 0xFFF | 0x10000
"""All but zoned devices, the second extent tree, and what places data otherwise than by chunks."""

_KNOWN_COMPAT_RO = 0xF
_NODE_SIZES = (4096, 8192, 16384, 32768, 65536)

_EXTENT_TREE = 2
_ROOT_ITEM, _EXTENT_ITEM, _METADATA_ITEM = 132, 168, 169
_ROOT = struct.Struct("<160xQ8xQ54xB")


@dataclass(frozen=True, slots=True)
class _Superblock:
    filesystem_id: bytes
    flags: int
    roots: TreeRoot
    chunks: TreeRoot
    log_root: int
    bytes_used: int
    devices: int
    node_bytes: int
    compat_ro: int
    incompat: int
    checksum_kind: int
    device: int
    device_bytes: int
    system_chunks: bytes


def find_usage(read_at: ReadAt, sectors: int) -> Usage:
    """Return the used ranges of the filesystem; raise FilesystemError where it makes no sense."""
    data = read_at(SUPERBLOCK, SUPERBLOCK_BYTES)
    superblock = _parse(data)
    checksum = checksums.BY_TYPE[superblock.checksum_kind]
    end = superblock.device_bytes // SECTOR
    _check(superblock, sectors)
    chunks = ChunkMap(superblock.device, superblock.device_bytes)
    node_bytes, identity = superblock.node_bytes, superblock.filesystem_id
    trees = Trees(read_at, chunks, node_bytes, checksum, identity)
    if not trees.is_sound(data):
        raise FilesystemError("its btrfs superblock is damaged")
    _read_chunks(trees, superblock)
    used = [(0, _RESERVED // SECTOR)]
    used += [(at // SECTOR, (at + SUPERBLOCK_BYTES) // SECTOR) for at in COPIES]
    used += _allocated(trees, superblock)
    return Usage("btrfs", tuple((s, min(e, end)) for s, e in merge(used) if s < end), end)


def _parse(data: bytes) -> _Superblock:
    if len(data) < SUPERBLOCK_BYTES or data[64:72] != MAGIC:
        raise FilesystemError("no btrfs superblock")
    (
        identity, _, flags, _, generation, root, chunk_root, log_root,
        _, bytes_used, devices, _, node_bytes, _, _, system_chunk_bytes,
        chunk_generation, _, compat_ro, incompat, checksum_kind, level, chunk_level, _,
        device, device_bytes,
    ) = _SUPERBLOCK.unpack_from(data)  # fmt: skip
    if incompat & _METADATA_UUID:
        identity = data[_METADATA_ID_AT:][:16]
    if system_chunk_bytes > _SYSTEM_CHUNKS_MAX or node_bytes not in _NODE_SIZES:
        raise FilesystemError("its btrfs superblock makes no sense")
    if checksum_kind not in checksums.BY_TYPE:
        raise FilesystemError(f"its btrfs filesystem has checksums of a new kind, {checksum_kind}")
    return _Superblock(
        filesystem_id=identity,
        flags=flags,
        roots=TreeRoot(root, level, generation),
        chunks=TreeRoot(chunk_root, chunk_level, chunk_generation),
        log_root=log_root,
        bytes_used=bytes_used,
        devices=devices,
        node_bytes=node_bytes,
        compat_ro=compat_ro,
        incompat=incompat,
        checksum_kind=checksum_kind,
        device=device,
        device_bytes=device_bytes,
        system_chunks=data[_SYSTEM_CHUNKS_AT:][:system_chunk_bytes],
    )


def _check(superblock: _Superblock, sectors: int) -> None:
    """Raise FilesystemError where the extent tree alone does not say what is in use here."""
    if superblock.devices != 1:
        raise FilesystemError(f"its btrfs filesystem spreads over {superblock.devices} devices")
    if superblock.device_bytes > sectors * SECTOR:
        raise FilesystemError(
            f"its btrfs filesystem needs {superblock.device_bytes // SECTOR} sectors, "
            f"the partition has {sectors}"
        )
    if superblock.log_root:
        raise FilesystemError("its btrfs log is yet to be replayed")
    if superblock.flags & ~_SOUND_FLAGS:
        raise FilesystemError("its btrfs filesystem has errors, or is being changed")
    unknown = superblock.incompat & ~_KNOWN_INCOMPAT, superblock.compat_ro & ~_KNOWN_COMPAT_RO
    if any(unknown):
        features = " ".join(f"{flags:#x}" for flags in unknown if flags)
        raise FilesystemError(f"its btrfs filesystem has features not known here ({features})")


def _read_chunks(trees: Trees, superblock: _Superblock) -> None:
    """Read the chunk tree, whose own chunks are in the superblock."""
    rest = memoryview(superblock.system_chunks)
    while len(rest) > KEY.size:
        _, kind, start = KEY.unpack_from(rest)
        if kind != CHUNK_ITEM:
            raise FilesystemError("the system chunks of its btrfs filesystem make no sense")
        rest = rest[KEY.size + trees.chunks.add(start, rest[KEY.size :]) :]
    for item in trees.items(superblock.chunks, [CHUNK_ITEM]):
        trees.chunks.add(item.offset, item.data)


def _extent_root(trees: Trees, superblock: _Superblock) -> TreeRoot:
    for item in trees.items(superblock.roots, [_ROOT_ITEM]):
        if item.object_id == _EXTENT_TREE and len(item.data) >= _ROOT.size:
            generation, address, level = _ROOT.unpack_from(item.data)
            return TreeRoot(address, level, generation)
    raise FilesystemError("its btrfs filesystem has no extent tree")


def _allocated(trees: Trees, superblock: _Superblock) -> Iterator[Range]:
    """Yield where all copies of all extents are; these sum up to what the superblock says."""
    total, reach = 0, 0
    kinds = (_EXTENT_ITEM, _METADATA_ITEM)
    for item in trees.items(_extent_root(trees, superblock), kinds):
        start, is_node = item.object_id, item.kind == _METADATA_ITEM
        length = superblock.node_bytes if is_node else item.offset
        if start < reach:
            raise FilesystemError("the extents of its btrfs filesystem overlap")
        total, reach = total + length, start + length
        for place in trees.chunks.places(start, length):
            yield place // SECTOR, -(-(place + length) // SECTOR)
    if total != superblock.bytes_used:
        raise FilesystemError("the extents of its btrfs filesystem are not as many as it says")
