"""How large the logical sectors of a disk are: a device knows, a file only by its partition table.

A table counts in them, so a disk whose sectors are of another size cannot be read by it.
"""

import fcntl
import os
import stat
import struct

from rhubarbe.disk.errors import PartitionError
from rhubarbe.disk.partitions import SECTOR_SIZES, PartitionTable, gpt_sector_size, read_partitions
from rhubarbe.disk.reading import ReadAt, from_byte
from rhubarbe.imaging.filesystems.marks import identify
from rhubarbe.ndz.header import SECTOR

_BLKSSZGET = 0x1268


def of_device(descriptor: int) -> int | None:
    """Return the bytes of a logical sector of an open block device, None for anything else."""
    if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
        return None
    (size,) = struct.unpack("i", fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)))
    return int(size)


def of_table(read_at: ReadAt, size: int) -> int | None:
    """Return the sector size by which the table in a file of `size` bytes makes sense, if any.

    A GPT says it by where it is. An MBR does not: the sectors are taken by which most of its
    partitions begin with something that is known, the smallest of those.
    """
    if found := gpt_sector_size(read_at, size):
        return found
    known = {each: _known_starts(read_at, size, each) for each in SECTOR_SIZES}
    best = max(known, key=lambda each: (known[each], -each))
    return best if known[best] else None


def _known_starts(read_at: ReadAt, size: int, sector_size: int) -> int:
    """Return how many partitions begin with something known, if sectors are of this size."""
    try:
        table = read_partitions(read_at, size, sector_size)
    except PartitionError:
        return 0
    starts = [p.start * SECTOR for p in table.partitions if not p.is_extended]
    return sum(bool(identify(from_byte(read_at, start))) for start in starts)


def refuse_foreign_table(read_at: ReadAt, size: int, sector_size: int) -> None:
    """Raise PartitionError where a disk of `size` bytes has a GPT for sectors of another size."""
    found = gpt_sector_size(read_at, size)
    if found and found != sector_size:
        raise PartitionError(
            f"its GPT counts in sectors of {found} bytes, the disk has sectors of "
            f"{sector_size}: no system finds its partitions there"
        )


def read_disk_table(descriptor: int, size: int, name: str) -> PartitionTable:
    """Read the table of an open disk, or of a file that holds one; raise PartitionError."""

    def read_at(offset: int, count: int) -> bytes:
        return os.pread(descriptor, count, offset)

    sector_size = of_device(descriptor) or of_table(read_at, size) or SECTOR
    try:
        refuse_foreign_table(read_at, size, sector_size)
        return read_partitions(read_at, size, sector_size)
    except PartitionError as error:
        raise PartitionError(f"{name}: {error}") from error
