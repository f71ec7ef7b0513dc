"""What is on a partition, by its bytes: the type in the partition table may lie, and often does."""

from collections.abc import Callable
from dataclasses import dataclass

from rhubarbe.imaging.errors import FilesystemError
from rhubarbe.imaging.filesystems import ext, fat, swap
from rhubarbe.imaging.filesystems.usage import ReadAt, Usage, whole

CONTAINERS = frozenset({"lvm", "luks"})
"""What may hold anything: a filesystem's mark inside of it is only leftover or content."""

BY_PARTCLONE = frozenset({"xfs", "btrfs", "ntfs", "exfat", "f2fs"})
"""Kinds whose used map the installed partclone knows, not this room."""


@dataclass(frozen=True, slots=True)
class _Mark:
    kind: str
    offset: int
    mark: bytes


_MARKS = (
    _Mark("luks", 0, b"LUKS\xba\xbe"),
    _Mark("lvm", 512, b"LABELONE"),
    _Mark("lvm", 0, b"LABELONE"),
    _Mark("lvm", 1024, b"LABELONE"),
    _Mark("ext", 1024 + 56, ext.MAGIC),
    _Mark("xfs", 0, b"XFSB"),
    _Mark("btrfs", 65536 + 64, b"_BHRfS_M"),
    _Mark("ntfs", 3, b"NTFS    "),
    _Mark("exfat", 3, b"EXFAT   "),
    _Mark("f2fs", 1024, b"\x10\x20\xf5\xf2"),
)

_READERS: dict[str, Callable[[ReadAt, int], Usage]] = {
    "ext": ext.find_usage,
    "fat": fat.find_usage,
    "swap": swap.find_usage,
}


def identify(read_at: ReadAt) -> tuple[str, ...]:
    """Return every kind whose mark the partition bears; a container stands alone."""
    kinds = [m.kind for m in _MARKS if read_at(m.offset, len(m.mark)) == m.mark]
    for kind in kinds:
        if kind in CONTAINERS:
            return (kind,)
    if fat.is_fat(read_at(0, 512)):
        kinds.append("fat")
    if swap.is_swap(read_at):
        kinds.append("swap")
    return tuple(kinds)


def find_usage(read_at: ReadAt, sectors: int) -> Usage:
    """Return which sectors of a partition are in use: all of them where that is not known.

    The remark then says why.
    """
    kinds = identify(read_at)
    if len(kinds) != 1:
        found = "bears the marks of " + " and ".join(kinds) if kinds else "of no known kind"
        return whole("raw", sectors, f"{found}: stored raw")
    (kind,) = kinds
    if kind not in _READERS:
        return whole(kind, sectors, f"{kind}: stored raw")
    try:
        return _READERS[kind](read_at, sectors)
    except FilesystemError as error:
        return whole(kind, sectors, f"{error}: stored raw")
