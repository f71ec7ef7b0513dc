"""What every module of this room answers: the used ranges of one partition."""

from dataclasses import dataclass

from rhubarbe.disk.ranges import Range
from rhubarbe.disk.reading import SECTOR


@dataclass(frozen=True, slots=True)
class PartitionPlace:
    """Where a partition is: `size` bytes from `offset` of a file or device; `is_all` of it."""

    path: str
    offset: int
    size: int
    is_all: bool

    @property
    def sectors(self) -> int:
        """Number of sectors, the last of which may be incomplete."""
        return -(-self.size // SECTOR)


@dataclass(frozen=True, slots=True)
class Usage:
    """The used ranges, ascending and apart; `end` is the sector past the filesystem.

    What lies between `end` and the end of the partition is not the filesystem's, and is not told
    here, whatever the kind. `remark` is one line for the user where not all is as it should be.
    """

    kind: str
    used: tuple[Range, ...]
    end: int
    remark: str = ""


def whole(kind: str, sectors: int, remark: str = "") -> Usage:
    """Return the usage of a partition that is in use from start to end."""
    return Usage(kind, ((0, sectors),) if sectors else (), sectors, remark)
