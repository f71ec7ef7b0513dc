"""Linux swap: its header and label are kept, the pages are not.

Source: the Linux kernel's include/linux/swap.h.
"""

import struct

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.filesystems.usage import Usage, whole
from rhubarbe.ndz.header import SECTOR

SIGNATURES = (b"SWAPSPACE2", b"SWAP-SPACE")
_HIBERNATED = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")
_PAGES = (4096, 8192, 16384, 32768, 65536)
_KEPT_BYTES = 32768
_HEADER_AT = 1024


def is_swap(read_at: ReadAt) -> bool:
    """Whether the partition bears swap's signature, at the end of a page of any usual size."""
    return any(_signature(read_at, page) for page in _PAGES)


def _signature(read_at: ReadAt, page: int) -> bytes:
    mark = read_at(page - 10, 10)
    return mark if mark in SIGNATURES or mark.startswith(_HIBERNATED) else b""


def find_usage(read_at: ReadAt, sectors: int) -> Usage:
    """Return the first 32 KiB, or the first page where it is larger.

    Raises FilesystemError where the header does not say how many pages there are.
    """
    page = next(page for page in _PAGES if _signature(read_at, page))
    signature = _signature(read_at, page)
    if signature not in SIGNATURES:
        return whole("swap", sectors, "a hibernated system is in its swap: stored whole")
    end = _pages(read_at(_HEADER_AT, 8)) * page // SECTOR if signature == SIGNATURES[0] else 0
    if not page // SECTOR < end <= sectors:
        raise FilesystemError(f"its header tells of {end} sectors, the partition has {sectors}")
    return Usage("swap", ((0, min(max(_KEPT_BYTES, page) // SECTOR, end)),), end)


def _pages(header: bytes) -> int:
    """Return the number of pages, the first included; version 1 shows the order of bytes."""
    for order in "<>":
        version, last = struct.unpack(f"{order}II", header.ljust(8, b"\0"))
        if version == 1:
            return int(last) + 1
    return 0
