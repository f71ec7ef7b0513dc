"""Whether an image is sealed, by the mark in its first chunk: nothing is inflated nor verified.

The layout is told in `rhubarbe.ndz.seal`, which reads and writes the whole seal.
"""

import os

MARK = b"NDZSEAL\0"
SEAL_SIZE = 64
SEAL_AT = 4096 - SEAL_SIZE
_ID = slice(16, 32)


def image_id(path: str | os.PathLike[str]) -> str | None:
    """Return the id of a sealed image, 32 hex digits; None where it has no seal. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        seal = os.pread(descriptor, SEAL_SIZE, SEAL_AT)
    finally:
        os.close(descriptor)
    return seal[_ID].hex() if seal.startswith(MARK) else None
