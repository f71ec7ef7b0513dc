"""What every module of this room answers: the used ranges of one partition."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from rhubarbe.imaging.errors import FilesystemError
from rhubarbe.ndz.header import SECTOR

RANGES_MAX = 4_000_000
"""More of them would take the memory that a node's ramdisk has: half a GiB."""

ReadAt = Callable[[int, int], bytes]
"""read_at(byte offset in the partition, byte count) -> bytes, fewer at its end."""

Range = tuple[int, int]
"""(start, end) in sectors of the partition."""


@dataclass(frozen=True, slots=True)
class Place:
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


def merge(ranges: Iterable[Range], gap: int = 0) -> list[Range]:
    """Return the ranges in order, joined where they touch or are at most `gap` apart."""
    merged: list[Range] = []
    for start, end in sorted(bounded(ranges)):
        if start >= end:
            continue
        if merged and start <= merged[-1][1] + gap:
            if end > merged[-1][1]:
                merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def bounded(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges; raise FilesystemError where they are too many to be held in memory."""
    held = list(islice(ranges, RANGES_MAX + 1))
    if len(held) > RANGES_MAX:
        raise FilesystemError("it is in too many pieces to be told apart")
    return held


def to_sectors(ranges: Iterable[Range], unit_bytes: int, offset: int = 0) -> list[Range]:
    """Turn ranges of clusters or blocks of `unit_bytes` into sectors, `offset` sectors further."""
    factor = unit_bytes // SECTOR
    return [(start * factor + offset, end * factor + offset) for start, end in ranges]


_SET_BITS = re.compile("1+")


def set_bits(bitmap: bytes, count: int) -> list[Range]:
    """Return the runs (start, end) of bits that are set among the first `count`.

    Bit i is bit i % 8, the lowest first, of byte i // 8.
    """
    number = int.from_bytes(bitmap[: -(-count // 8)], "little") & ((1 << count) - 1)
    if number == 0:
        return []
    if number == (1 << count) - 1:
        return [(0, count)]
    text = f"{number:b}"[::-1]
    return [match.span() for match in _SET_BITS.finditer(text)]
