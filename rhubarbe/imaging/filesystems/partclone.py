"""The used ranges of what this room cannot read itself, by asking the installed partclone.

Its map (the domain log of `-D`) is a text: after comments and a line that says how far it reaches,
one line a range, with position and size in bytes, `+` where it is used and `?` where it is free.
It comes through a pipe, so that no full disk cuts it short (partclone ends with status 0 then), and
is believed only if it is of one piece from the start to the end of the filesystem. What it does not
say to be free is in use.
"""

import io
import os
import re
from collections.abc import Iterator

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.ranges import Range, gaps, merge
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.filesystems.loop import device_of
from rhubarbe.imaging.filesystems.programs import find, run
from rhubarbe.imaging.filesystems.superblocks import find_extent
from rhubarbe.imaging.filesystems.usage import PartitionPlace, Usage
from rhubarbe.ndz.header import SECTOR

_REACH = re.compile(rb"0x([0-9A-F]{1,16})\s+\?\n")
_RANGE = re.compile(rb"0x([0-9A-F]{1,16})\s+0x([0-9A-F]{1,16})\s+([+?])\n")
_ROUNDING = 2 << 20
"""Bytes after the last whole cluster, of the largest size that there is; no map tells of them."""


def find_usage(kind: str, read_at: ReadAt, place: PartitionPlace) -> Usage:
    """Return the used ranges of a filesystem of that kind; raise FilesystemError saying why not."""
    program = find(f"partclone.{kind}")
    extent = find_extent(kind, read_at)
    if not 0 < extent.end <= place.sectors:
        raise FilesystemError(f"it needs {extent.end} sectors, the partition has {place.sectors}")
    with device_of(place) as device:
        if kind == "xfs" and b"<CLEAN>" not in run([find("xfs_logprint"), "-t", device]):
            raise FilesystemError("its xfs log is yet to be replayed")
        said = run([program, "-q", "-D", "-s", device, "-o", "-", "-L", os.devnull])
    used = gaps(merge(parse(said, extent.end * SECTOR)), [(0, extent.end)])
    if sum(end - start for start, end in used) < extent.used:
        raise FilesystemError(f"less is in use by partclone.{kind} than by its superblock")
    return Usage(kind, tuple(used), extent.end)


def parse(said: bytes, end: int) -> Iterator[Range]:
    """Yield the free ranges, in sectors, of a map that must reach that byte."""
    lines = (line for line in io.BytesIO(said) if not line.startswith(b"#"))
    first = _REACH.fullmatch(next(lines, b""))
    if not first:
        raise FilesystemError("partclone's map is not understood")
    reach, at = int(first[1], 16), 0
    for line in lines:
        found = _RANGE.fullmatch(line)
        if not found or int(found[1], 16) != at:
            raise FilesystemError("partclone's map is not understood")
        start, at = at, at + int(found[2], 16)
        if found[3] == b"?":
            yield -(-start // SECTOR), at // SECTOR
    if at != reach or not end - _ROUNDING < reach <= end:
        raise FilesystemError(f"partclone's map ends at byte {at} of {end}")
