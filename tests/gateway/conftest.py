"""A small image of two chunks, made of a golden one of one."""

import lzma
import struct
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data" / "ndz"
SECTORS = 16384  # that the golden image covers, all of them in its only region


@pytest.fixture(scope="session")
def chunk():
    return lzma.decompress((DATA / "d4-raw.ndz.xz").read_bytes())


@pytest.fixture(scope="session")
def image(chunk):
    second = bytearray(chunk)
    struct.pack_into("<i", second, 8, 1)
    struct.pack_into("<II", second, 24, SECTORS, 2 * SECTORS)
    region = chunk.index(struct.pack("<II", 0, SECTORS), 32)
    struct.pack_into("<II", second, region, SECTORS, SECTORS)
    return chunk + bytes(second)
