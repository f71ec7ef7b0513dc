"""What an image file and its first seal say at a glance: nothing is inflated nor verified.

The layout is told in `rhubarbe.ndz.seal`, which reads and writes the whole seal.
"""

import os

MARK = b"NDZSEAL\0"
SEAL_SIZE = 64
SEAL_AT = 4096 - SEAL_SIZE
_ID = slice(16, 32)
_VERSION, _FLAGS = slice(12, 14), slice(14, 16)


def image_id(path: str | os.PathLike[str]) -> str | None:
    """Return the id of a sealed image, 32 hex digits; None where it has no seal. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        seal = os.pread(descriptor, SEAL_SIZE, SEAL_AT)
    finally:
        os.close(descriptor)
    return seal[_ID].hex() if seal.startswith(MARK) else None


def sector_size(header_area: bytes) -> int | None:
    """Return how many bytes a logical sector of the disk has; None where no seal says it."""
    seal = header_area[SEAL_AT:]
    if not seal.startswith(MARK):
        return None
    version, flags = (int.from_bytes(seal[field], "little") for field in (_VERSION, _FLAGS))
    return 512 << (flags >> 8 & 0xF) if version > 1 else 512


def edition(descriptor: int) -> tuple[int, int]:
    """Return what is another once an open file was written to: its size, and when that was."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
