"""Which sectors of a partition are in use: all of them where what is on it is not known."""

from collections.abc import Callable

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.filesystems import btrfs, ext, fat, swap, ufs
from rhubarbe.imaging.filesystems.marks import identify
from rhubarbe.imaging.filesystems.usage import PartitionPlace, Usage, whole

_READERS: dict[str, Callable[[ReadAt, int], Usage]] = {
    "ext": ext.find_usage,
    "fat": fat.find_usage,
    "swap": swap.find_usage,
    "btrfs": btrfs.find_usage,
    "ufs": ufs.find_usage,
}

_BY_PARTCLONE = frozenset({"xfs", "ntfs", "exfat", "f2fs"})
"""Kinds whose used map the installed partclone knows, not this room."""


def find_usage(read_at: ReadAt, place: PartitionPlace) -> Usage:
    """Return which sectors of a partition are in use: all of them where that is not known.

    The remark then says why.
    """
    kinds = identify(read_at, place.sectors)
    if len(kinds) != 1:
        found = "bears the marks of " + " and ".join(kinds) if kinds else "of no known kind"
        return whole("raw", place.sectors, f"{found}: stored raw")
    (kind,) = kinds
    try:
        if kind in _READERS:
            return _READERS[kind](read_at, place.sectors)
        if kind in _BY_PARTCLONE:
            from rhubarbe.imaging.filesystems import partclone  # with it comes what runs programs

            return partclone.find_usage(kind, read_at, place)
    except FilesystemError as error:
        return whole(kind, place.sectors, f"{kind}, but {error}: stored raw")
    return whole(kind, place.sectors, f"{kind}: stored raw")
