"""Marks that a disk bears behind the end of the image, of what was on it before.

An image of a bare filesystem, or of a slice, clears nothing behind its end, where data of somebody
may lie. But a RAID member is known by its end, and would be found before what is restored.
"""

import os

from rhubarbe.imaging.devices import reopened
from rhubarbe.imaging.errors import TargetError
from rhubarbe.imaging.filesystems.marks import identify
from rhubarbe.imaging.target import Target
from rhubarbe.ndz.header import SECTOR


def refuse_former_life(target: Target, covered: int) -> None:
    """Raise TargetError where marks lie behind the sectors that an image covers."""
    size = target.size or 0
    end = covered * SECTOR
    if end >= size:
        return
    with reopened(target.descriptor, os.O_RDONLY) as descriptor:

        def read_at(offset: int, count: int) -> bytes:
            start = min(max(offset, end), offset + count)
            hidden = start - offset
            return bytes(hidden) + os.pread(descriptor, count - hidden, target.base + start)

        kinds = identify(read_at, size // SECTOR)
    if kinds:
        raise TargetError(
            f"{target.name}: nothing was written: its end, behind the image, bears the mark of "
            f"{' and '.join(kinds)}, which would be found instead; wipefs -a removes it"
        )
