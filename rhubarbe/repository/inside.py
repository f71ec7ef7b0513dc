"""The filesystems of the disk in an image, as far as they are understood, and which is the root."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from rhubarbe.disk.errors import FilesystemError, PartitionError
from rhubarbe.disk.ext_files import ExtFilesystem
from rhubarbe.disk.partitions import Partition, PartitionTable, read_table
from rhubarbe.disk.reading import SECTOR
from rhubarbe.repository.sectors import DiskInside

_OFFSET = re.compile(r"\?offset=(\d+)$")
_AFTER_DISK = re.compile(r"(?:p|-part)?(\d+)")
_BY_ITSELF = re.compile(r"(?:-part|\dp|/[a-z]+d[a-z]+)(\d+)$")

# A filesystem may be there without any table.
WHOLE = Partition(0, 0, 0, "")


class Volume(NamedTuple):
    """A filesystem on the disk; the whole disk has number 0."""

    number: int
    start: int
    files: ExtFilesystem


class RootPartition(NamedTuple):
    """Which partition a node's root is on: by number, or by the byte where it starts."""

    number: int | None = None
    start: int | None = None

    @classmethod
    def of(cls, root_partition: str, hard_drive: str) -> Self:
        """Read it off the name that the ramdisk has for the partition."""
        if match := _OFFSET.search(root_partition):
            return cls(start=int(match.group(1)))
        if root_partition.isdecimal():
            return cls(number=int(root_partition))
        if root_partition == hard_drive:
            return cls(number=0)
        if root_partition.startswith(hard_drive):
            match = _AFTER_DISK.fullmatch(root_partition.removeprefix(hard_drive))
        else:
            match = _BY_ITSELF.search(root_partition)
        return cls(number=int(match.group(1))) if match else cls()

    def is_of(self, volume: Volume) -> bool:
        """Whether it is this one."""
        return self.number == volume.number or self.start == volume.start


def volumes(disk: DiskInside) -> list[Volume]:
    """Return what is understood of the disk's partitions, else of the disk without any.

    Of the sizes that its sectors may have, the one by which most partitions are understood counts.
    Raises as the disk does.
    """
    found = [list(_understood(disk, table.partitions)) for table in tables(disk)]
    return max(found, key=len, default=[]) or list(_understood(disk, [WHOLE]))


def tables(disk: DiskInside) -> Iterator[PartitionTable]:
    """Yield the disk's table as it reads by each size that its sectors may have, likeliest first.

    Raises as the disk does.
    """
    for size in disk.sector_sizes():
        with contextlib.suppress(PartitionError):
            yield read_table(disk.read, disk.size, size)


def _understood(disk: DiskInside, partitions: Iterable[Partition]) -> Iterator[Volume]:
    seen: set[int] = set()
    for partition in partitions:
        start = partition.start * SECTOR
        if start not in seen and not partition.is_extended:
            seen.add(start)
            with contextlib.suppress(FilesystemError):
                yield Volume(partition.number, start, ExtFilesystem(disk.read, start))
