"""The digests of a manifest: BLAKE3 where it is installed, BLAKE2b, six times slower, everywhere.

A digest of a chunk must cost less than a thirtieth of what its restore does, which BLAKE2b does
not; Python itself has no BLAKE3.
"""

import hashlib
from enum import IntEnum
from typing import Protocol

from rhubarbe.ndz.header import Buffer

DIGEST_BYTES = 16


class Algorithm(IntEnum):
    """By which the digests of a manifest are made; both give 16 bytes."""

    BLAKE2B = 1
    BLAKE3 = 2


class Digester(Protocol):
    """Takes bytes piece by piece."""

    def update(self, data: Buffer, /) -> object:
        """Take the next piece."""

    def digest(self) -> bytes:
        """Return the 16 bytes for all that was taken."""


class _Blake3:
    """BLAKE3, whose digests are as long as one likes."""

    def __init__(self) -> None:
        from blake3 import blake3

        self._hasher = blake3()
        self.update = self._hasher.update

    def digest(self) -> bytes:
        return bytes(self._hasher.digest(DIGEST_BYTES))


def _has_blake3() -> bool:
    try:
        import blake3  # noqa: F401
    except ImportError:  # no wheel for this machine, or for the Python of a ramdisk
        return False
    return True


ALGORITHMS = (Algorithm.BLAKE3, Algorithm.BLAKE2B) if _has_blake3() else (Algorithm.BLAKE2B,)
"""Those that this Python can make, the fastest first."""


def digester(algorithm: Algorithm) -> Digester:
    """Return what makes one digest; the algorithm must be one of ALGORITHMS."""
    if algorithm is Algorithm.BLAKE3:
        return _Blake3()
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def digest(algorithm: Algorithm, data: Buffer) -> bytes:
    """Return the digest of some bytes."""
    made = digester(algorithm)
    made.update(data)
    return made.digest()
