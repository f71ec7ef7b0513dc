"""An image file as a row of chunks, and what it takes to read some of it, and all of that."""

import errno
import os
from dataclasses import dataclass
from typing import Self

from rhubarbe.ndz.header import CHUNK, HEADER_AREA


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """The chunks in an open file, or in a disk, which is another's to close.

    `size` is in bytes, from byte `start` of the file on. What the device cannot read is asked for
    up to `retries` times more.
    """

    descriptor: int
    size: int
    start: int = 0
    retries: int = 0

    @classmethod
    def of(cls, descriptor: int, start: int = 0, retries: int = 0) -> Self:
        """Look how long the file is; its position is at its end then."""
        size = max(os.lseek(descriptor, 0, os.SEEK_END) - start, 0)
        return cls(descriptor, size, start, retries)

    @property
    def count(self) -> int:
        """How many whole chunks there are."""
        return self.size // CHUNK

    @property
    def rest(self) -> int:
        """How many bytes follow the last whole chunk: none, in a whole image."""
        return self.size % CHUNK

    def header_area(self, place: int) -> bytes:
        """Return what a chunk begins with: its header, and its seal if it has one."""
        return self.read(place, HEADER_AREA)

    def read(self, place: int, count: int = CHUNK) -> bytes:
        """Return the first bytes of a chunk, fewer where the file ends."""
        data = bytearray(count)
        return bytes(memoryview(data)[: self.read_into(place, memoryview(data))])

    def read_into(self, place: int, chunk: memoryview) -> int:
        """Read the start of a chunk into memory; return how many bytes of it there are."""
        at = self.start + place * CHUNK
        for _ in range(self.retries):
            try:
                return fill(self.descriptor, [chunk], at, len(chunk))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
        return fill(self.descriptor, [chunk], at, len(chunk))


def fill(descriptor: int, views: list[memoryview], at: int, wanted: int) -> int:
    """Read from byte `at` of a file into memory, a view after the other; return how many bytes.

    These are fewer than are `wanted` only where the file ends.
    """
    filled = os.preadv(descriptor, views, at)
    while filled < wanted:
        more = os.preadv(descriptor, _behind(views, filled), at + filled)
        if not more:
            break
        filled += more
    return filled


def _behind(views: list[memoryview], skipped: int) -> list[memoryview]:
    """Return what is left of views behind so many bytes."""
    for number, view in enumerate(views):
        if skipped < len(view):
            return [view[skipped:], *views[number + 1 :]]
        skipped -= len(view)
    return []
