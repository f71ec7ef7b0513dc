"""Signatures of version 4 images: one RSA signature of a SHA1 digest for each chunk.

The key file has the modulus and the public exponent, in hexadecimal, on its first two lines. What
is signed is PKCS#1 v1.5 padding around 53 bytes, of which the digest is the first 20. Source: the
format of Emulab's imagezip.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rhubarbe.imaging.errors import UsageError
from rhubarbe.ndz.errors import DamagedChunk
from rhubarbe.ndz.header import HEADER_AREA, Buffer, parse_header

_CHECKSUM_AT = 72
_CHECKSUM_SIZE = 64
_DIGEST_SIZE = 20
_PADDING = b"\x00\x01"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA public key."""

    modulus: int
    exponent: int

    @classmethod
    def load(cls, path: str) -> Self:
        """Read a key file; raise UsageError where it is none, OSError where it cannot be read."""
        lines = Path(path).read_text(errors="replace").split()
        try:
            key = cls(int(lines[0], 16), int(lines[1], 16))
        except (ValueError, IndexError):
            raise UsageError(f"{path}: not a key file: two hexadecimal lines expected") from None
        if key.modulus <= 1 or key.exponent <= 0:
            raise UsageError(f"{path}: not an RSA public key")
        return key

    def check(self, chunk: Buffer, place: int) -> None:
        """Check the signature of a chunk; raise DamagedChunk naming it."""
        header = parse_header(chunk, place)
        if not header.security.signed:
            raise DamagedChunk(place, "is not signed")
        signed = bytearray(memoryview(chunk)[: HEADER_AREA + header.size])
        signed[_CHECKSUM_AT : _CHECKSUM_AT + _CHECKSUM_SIZE] = bytes(_CHECKSUM_SIZE)
        digest = hashlib.sha1(signed, usedforsecurity=False).digest()
        signature = int.from_bytes(header.security.checksum[:_CHECKSUM_SIZE], "big")
        if self._digest_in(signature) != digest:
            raise DamagedChunk(place, "its signature is not that of this key")

    def _digest_in(self, signature: int) -> bytes:
        size = -(-self.modulus.bit_length() // 8)
        opened = pow(signature, self.exponent, self.modulus).to_bytes(size, "big")
        padding, _, content = opened[len(_PADDING) :].partition(b"\0")
        if not opened.startswith(_PADDING) or padding.strip(b"\xff"):
            return b""
        return content[:_DIGEST_SIZE]
