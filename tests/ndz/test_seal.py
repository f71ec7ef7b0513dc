"""The seal, version 1 and 2, as docs/SEAL.md has it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.ndz.check import check_chunk
from rhubarbe.ndz.deflate import Batch, Deflater, Packer
from rhubarbe.ndz.errors import DamagedChunk
from rhubarbe.ndz.header import CHUNK, Region, parse_header
from rhubarbe.ndz.seal import read_seal, seal_chunk

DATA = b"".join(bytes([number]) * 512 for number in range(24))


def chunk_of(sector_size):
    batch = Batch((Region(0, 8), Region(40, 16)), memoryview(DATA))
    packer = Packer(image_id=b"i" * 16, sector_size=sector_size)
    assert list(packer.add(Deflater().deflate(batch))) == []
    (chunk,) = packer.finish(64)
    return chunk


@pytest.mark.parametrize(("sector_size", "log"), [(1024, 1), (2048, 2), (4096, 3)])
def test_version_2_tells_the_sectors_and_has_a_digest(sector_size, log):
    chunk = chunk_of(sector_size)
    assert (chunk[4044], chunk[4046:4048]) == (2, bytes([1, log]))
    assert chunk[4080:4096] == hashlib.blake2b(DATA, digest_size=16).digest()
    seal = check_chunk(chunk, 0).seal
    assert (seal.version, seal.sector_size) == (2, sector_size)


def test_of_common_disks_it_is_version_1():
    chunk = chunk_of(512)
    assert (chunk[4044], chunk[4046:4048], chunk[4080:4096]) == (1, b"\1\0", bytes(16))
    assert check_chunk(chunk, 0).seal.version == 1


def test_the_digest_is_checked():
    chunk = chunk_of(4096)
    seal = read_seal(chunk, parse_header(chunk, 0))
    object.__setattr__(seal, "digest", b"x" * 16)
    chunk[4032:4096] = bytes(64)
    seal_chunk(chunk, seal)
    with pytest.raises(DamagedChunk, match="not those that were sealed"):
        check_chunk(chunk, 0)


@pytest.mark.parametrize(("at", "value"), [(4044, 3), (4044, 0), (4047, 1), (4047, 7)])
def test_what_is_not_known_of_a_seal_is_refused(at, value):
    chunk = chunk_of(512)
    chunk[at] = value
    reseal(chunk)
    with pytest.raises(DamagedChunk, match="has a seal of version"):
        check_chunk(chunk, 0)


def reseal(chunk):
    import zlib

    chunk[4040:4044] = bytes(4)
    chunk[4040:4044] = zlib.crc32(chunk).to_bytes(4, "little")


@given(st.integers(0, CHUNK - 1), st.integers(1, 255))
def test_any_altered_byte_is_found(at, change):
    chunk = chunk_of(4096)
    chunk[at] ^= change
    with pytest.raises(Exception, match="chunk 0"):
        check_chunk(chunk, 0)
