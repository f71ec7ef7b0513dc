"""The type of a partition in the MBR of an open disk."""

import os

from rhubarbe.disk.partitions import with_type
from rhubarbe.disk.reading import SECTOR


def set_mbr_type(descriptor: int, number: int, kind: int) -> None:
    """Set the type of a primary partition (1 to 4) of an open disk; raise PartitionError."""
    os.pwrite(descriptor, with_type(os.pread(descriptor, SECTOR, 0), number, kind), 0)
    os.fsync(descriptor)
