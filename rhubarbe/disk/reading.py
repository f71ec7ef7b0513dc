"""How a disk is read, and in what its positions are counted."""

from collections.abc import Callable

SECTOR = 512
"""Bytes: the unit of all positions that are given out, whatever the disk's own sectors."""

ReadAt = Callable[[int, int], bytes]
"""read_at(byte offset, byte count) -> bytes, fewer at the end of what is read."""


def from_byte(read_at: ReadAt, start: int) -> ReadAt:
    """Return what reads a part of a disk that begins at byte `start`."""
    return lambda offset, count: read_at(start + offset, count)
