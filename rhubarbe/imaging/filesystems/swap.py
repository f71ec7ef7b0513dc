"""Linux swap: its header and label are kept, the pages are not."""

from rhubarbe.imaging.filesystems.usage import ReadAt, Usage, whole
from rhubarbe.ndz.header import SECTOR

SIGNATURES = (b"SWAPSPACE2", b"SWAP-SPACE")
_HIBERNATED = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")
_PAGES = (4096, 8192, 16384, 32768, 65536)
_KEPT_BYTES = 32768


def is_swap(read_at: ReadAt) -> bool:
    """Whether the partition bears swap's signature, at the end of a page of any usual size."""
    return any(_signature(read_at, page) for page in _PAGES)


def _signature(read_at: ReadAt, page: int) -> bytes:
    mark = read_at(page - 10, 10)
    return mark if mark in SIGNATURES or mark.startswith(_HIBERNATED) else b""


def find_usage(read_at: ReadAt, sectors: int) -> Usage:
    """Return the first 32 KiB, or the first page where it is larger."""
    page = next(page for page in _PAGES if _signature(read_at, page))
    if _signature(read_at, page) not in SIGNATURES:
        return whole("swap", sectors, "a hibernated system is in its swap: stored whole")
    kept = min(max(_KEPT_BYTES, page) // SECTOR, sectors)
    return Usage("swap", ((0, kept),), sectors)
