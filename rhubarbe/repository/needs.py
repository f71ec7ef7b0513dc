"""What an image needs of the disk that it is put on: read on the gateway, from the image itself.

An image of a disk with sectors of another size carries seals of version 2, which say so; the
partition tables in it count such sectors. All else counts sectors of 512 bytes.
"""

from dataclasses import dataclass

from rhubarbe.disk.partitions import PartitionTable
from rhubarbe.disk.reading import SECTOR
from rhubarbe.disks import NodeDisk
from rhubarbe.errors import ImageError, why
from rhubarbe.ndz.errors import NdzError
from rhubarbe.repository.inside import tables
from rhubarbe.repository.sectors import DiskInside
from rhubarbe.shared.directory import StrPath
from rhubarbe.text import size_of


@dataclass(frozen=True, slots=True)
class Needs:
    """What an image needs, in bytes.

    `sector_size` is None where nothing in the image depends on it. `end` is where the disk may end
    at the soonest, and `last_partition` where its last partition ends, 0 without one. `data_end` is
    where the last byte is stored: what lies behind `end` are tables that can be elsewhere.
    """

    sector_size: int | None
    end: int
    last_partition: int
    data_end: int

    def lack_of(self, disk: NodeDisk) -> str:
        """Say why the image cannot be put on a disk; nothing where it can, or that is not known."""
        size = disk.sector_size
        if self.sector_size and size and size != self.sector_size:
            return (
                f"the image is of a disk with sectors of {self.sector_size} bytes,"
                f" {disk.path} has sectors of {size}"
            )
        if disk.size is None or self.end <= disk.size:
            return ""
        what = "its partitions end" if self.last_partition else "its data ends"
        end = self.last_partition or self.end
        rest = ", before the backup of its table" if end <= disk.size else ""
        return (
            f"the disk is too small for the image: {what} at byte {end}{rest},"
            f" {disk.path} ends at {disk.size} ({size_of(disk.size)})"
        )

    def reaches_beyond(self, disk: NodeDisk) -> bool:
        """Tell whether something is stored for behind the end of a disk, a backup of a table."""
        return disk.size is not None and self.data_end > disk.size


def read_needs(path: StrPath, data_end: int) -> Needs:
    """Read what an image needs that has data up to byte `data_end`; raises ImageError."""
    try:
        with DiskInside(path) as disk:
            for table in tables(disk):
                if last := table.end * SECTOR:
                    return Needs(table.sector_size, last + _behind(table), last, data_end)
    except (OSError, NdzError) as error:
        raise ImageError(f"{path}: cannot be read: {why(error)}") from error
    return Needs(None, data_end, 0, data_end)


def _behind(table: PartitionTable) -> int:
    """Return how many bytes must follow the last partition: those of a GPT's backup."""
    if table.gpt is None:
        return 0
    return (table.gpt.entries_sectors(table.sector_size) + 1) * table.sector_size
