"""Signatures of version 4 images: one RSA signature of a SHA1 digest for each chunk.

The key file has the modulus and the public exponent, in hexadecimal, on its first two lines; one
that signs has three more: the private exponent modulo each prime less one, and the inverse of the
second prime modulo the first. What is signed is PKCS#1 v1.5 padding around 53 bytes, of which the
digest is the first 20. Source: the format of Emulab's imagezip.

There is room for keys of 512 bits. Whoever takes the trouble breaks one in a day: such a signature
tells which images are whose; against an attacker there is the manifest.
"""

import hashlib
import math
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rhubarbe.imaging.errors import UsageError
from rhubarbe.ndz.errors import DamagedChunk
from rhubarbe.ndz.header import (
    CHECKSUM_AT,
    CHECKSUM_USED,
    CHUNK,
    HEADER_AREA,
    Buffer,
    parse_header,
)
from rhubarbe.ndz.seal import BALANCE_SIZE, keep_seal_true

_DIGEST_SIZE = 20
_SIGNED_SIZE = 53
_PADDING = b"\x00\x01"
_EXPONENT = 17
_EXPONENT_MAX = 1 << 17
_PRIME_BITS = CHECKSUM_USED * 8 // 2
_ROUNDS = 40
_KEY_FILE_MOST = 64 << 10


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA public key."""

    modulus: int
    exponent: int

    @classmethod
    def load(cls, path: str) -> Self:
        """Read a key file; raise UsageError where it is none, OSError where it cannot be read."""
        numbers = _read_numbers(path, 2, "not a key file: two hexadecimal lines expected")
        key = cls(numbers[0], numbers[1])
        if key.modulus <= 1 or key.exponent <= 0:
            raise UsageError(f"{path}: not an RSA public key")
        return key

    def check(self, chunk: Buffer, place: int) -> None:
        """Check the signature of a chunk; raise DamagedChunk naming it."""
        header = parse_header(chunk, place)
        if not header.security.signed:
            raise DamagedChunk(place, "is not signed")
        signature = int.from_bytes(header.security.checksum[:CHECKSUM_USED], "big")
        if self._digest_in(signature) != _digest(chunk, header.size):
            raise DamagedChunk(place, "its signature is not that of this key")

    def _digest_in(self, signature: int) -> bytes:
        size = -(-self.modulus.bit_length() // 8)
        opened = pow(signature, self.exponent, self.modulus).to_bytes(size, "big")
        padding, _, content = opened[len(_PADDING) :].partition(b"\0")
        if not opened.startswith(_PADDING) or padding.strip(b"\xff"):
            return b""
        return content[:_DIGEST_SIZE]


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An RSA key that signs: its two primes, and its public exponent."""

    prime: int
    other: int
    exponent: int = _EXPONENT

    @classmethod
    def make(cls) -> Self:
        """Make a new one, of 512 bits."""
        while True:
            key = cls(_new_prime(), _new_prime())
            if key.prime != key.other and key.modulus.bit_length() == CHECKSUM_USED * 8:
                return key

    @classmethod
    def load(cls, path: str) -> Self:
        """Read a key file that signs; raise UsageError where it is none, and OSError."""
        modulus, exponent, remainder = _read_numbers(
            path, 5, "not a key that signs: five hexadecimal lines expected"
        )[:3]
        # The primes are not in the file, but exponent * remainder - 1 is a multiple of prime - 1.
        product = exponent * remainder - 1
        for multiple in range(1, min(exponent, _EXPONENT_MAX)):
            prime = product // multiple + 1
            if product % multiple == 0 and 1 < prime < modulus and modulus % prime == 0:
                key = cls(prime, modulus // prime, exponent)
                break
        else:
            raise UsageError(f"{path}: not an RSA key that signs")
        if -(-modulus.bit_length() // 8) != CHECKSUM_USED or math.gcd(exponent, key.order) > 1:
            raise UsageError(f"{path}: images are signed with keys of {CHECKSUM_USED * 8} bits")
        return key

    @property
    def modulus(self) -> int:
        """The modulus, which is public."""
        return self.prime * self.other

    @property
    def order(self) -> int:
        """What exponents are taken modulo of."""
        return math.lcm(self.prime - 1, self.other - 1)

    def text(self) -> str:
        """Return what a key file has."""
        secret = pow(self.exponent, -1, self.order)
        numbers = (
            self.modulus,
            self.exponent,
            secret % (self.prime - 1),
            secret % (self.other - 1),
            pow(self.other, -1, self.prime),
        )
        return "".join(f"{number:x}\n" for number in numbers)

    def sign(self, chunk: bytearray, place: int) -> None:
        """Sign a chunk that says that it is signed, and is sealed: it stays so."""
        size = parse_header(chunk, place).size
        if size > CHUNK - HEADER_AREA - BALANCE_SIZE:
            raise DamagedChunk(place, "no room is left in it for a seal and a signature")
        content = _digest(chunk, size).ljust(_SIGNED_SIZE, b"\0")
        padding = b"\xff" * (CHECKSUM_USED - len(_PADDING) - 1 - _SIGNED_SIZE)
        padded = int.from_bytes(_PADDING + padding + b"\0" + content, "big")
        signature = pow(padded, pow(self.exponent, -1, self.order), self.modulus)
        chunk[CHECKSUM_AT : CHECKSUM_AT + CHECKSUM_USED] = signature.to_bytes(CHECKSUM_USED, "big")
        keep_seal_true(chunk)


def _digest(chunk: Buffer, size: int) -> bytes:
    """Return the digest of what is signed: header area and stream, without the signature."""
    signed = bytearray(memoryview(chunk)[: HEADER_AREA + size])
    signed[CHECKSUM_AT : CHECKSUM_AT + CHECKSUM_USED] = bytes(CHECKSUM_USED)
    return hashlib.sha1(signed, usedforsecurity=False).digest()


def _read_numbers(path: str, count: int, complaint: str) -> list[int]:
    with Path(path).open(errors="replace") as file:
        lines = file.read(_KEY_FILE_MOST).split()
    try:
        numbers = [int(line, 16) for line in lines[:count]]
    except ValueError:
        numbers = []
    if len(numbers) < count:
        raise UsageError(f"{path}: {complaint}")
    return numbers


def _new_prime() -> int:
    """Return a prime of half a key's bits, the two highest of them set, fit for the exponent."""
    while True:
        number = secrets.randbits(_PRIME_BITS) | 3 << _PRIME_BITS - 2 | 1
        if math.gcd(_EXPONENT, number - 1) == 1 and _is_prime(number):
            return number


def _is_prime(number: int) -> bool:
    """Whether a large odd number is prime, by the test of Miller and Rabin."""
    twos = (number - 1 & 1 - number).bit_length() - 1
    for _ in range(_ROUNDS):
        power = pow(secrets.randbelow(number - 3) + 2, number - 1 >> twos, number)
        if power in {1, number - 1}:
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True
