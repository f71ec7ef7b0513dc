"""The checksums by which btrfs knows a sound block; its superblock's `csum_type` says which.

Nearly all filesystems have CRC-32C (Castagnoli). Python's library has only the other CRC-32, and no
XXH64, so both are computed here. What btrfs checks is a block without the first 32 bytes, which
hold the checksum: a multiple of 32 bytes, so that XXH64 has no rest to care for.
"""

import hashlib
import struct
from array import array
from collections.abc import Callable
from functools import cache

_POLYNOMIAL = 0x82F63B78
_ONES = (1 << 32) - 1
_PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63)
_ALL = (1 << 64) - 1
_STRIPE = struct.Struct("<QQQQ")


def crc32c(data: bytes) -> bytes:
    """Return the four bytes as they are stored; two at a time, by a table."""
    table = _table()
    crc = _ONES
    for (word,) in struct.iter_unpack("<H", data):
        crc = table[(crc ^ word) & 0xFFFF] ^ crc >> 16
    return (crc ^ _ONES).to_bytes(4, "little")


@cache
def _table() -> "array[int]":
    one = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        one.append(value)
    firsts = ((one[value & 255] ^ value >> 8) for value in range(65536))
    return array("I", (one[first & 255] ^ first >> 8 for first in firsts))


def xxhash64(data: bytes) -> bytes:
    """Return the eight bytes as they are stored; XXH64 with seed 0."""
    one, two, three, four = _PRIMES
    lanes = [(one + two) & _ALL, two, 0, -one & _ALL]
    for words in _STRIPE.iter_unpack(data):
        lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
    value = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True))
    for lane in lanes:
        value = ((value ^ _round(0, lane)) * one + four) & _ALL
    value = (value + len(data)) & _ALL
    value = (value ^ value >> 33) * two & _ALL
    value = (value ^ value >> 29) * three & _ALL
    return (value ^ value >> 32).to_bytes(8, "little")


def _round(lane: int, word: int) -> int:
    return _rotate((lane + word * _PRIMES[1]) & _ALL, 31) * _PRIMES[0] & _ALL


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _ALL


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _blake2b(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


BY_TYPE: dict[int, Callable[[bytes], bytes]] = {0: crc32c, 1: xxhash64, 2: _sha256, 3: _blake2b}
