"""The seal, version 1 and 2, as docs/SEAL.md has it."""

import hashlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.ndz.check import check_chunk
from rhubarbe.ndz.deflate import Batch, Deflater, Packer
from rhubarbe.ndz.errors import DamagedChunk
from rhubarbe.ndz.header import CHUNK, ChunkHeader, Region, parse_header
from rhubarbe.ndz.seal import (
    TABLE_ROOM,
    Seal,
    SectorsCheck,
    read_seal,
    seal_chunk,
    table_size,
)

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
    chunk[4040:4044] = bytes(4)
    chunk[4040:4044] = zlib.crc32(chunk).to_bytes(4, "little")


@given(st.integers(0, CHUNK - 1), st.integers(1, 255))
def test_any_altered_byte_is_found(at, change):
    chunk = chunk_of(4096)
    chunk[at] ^= change
    with pytest.raises(Exception, match="chunk 0"):
        check_chunk(chunk, 0)


def sealed(untrue=b"", **fields):
    """Return a chunk that is sealed as docs/SEAL.md has it, by none of the code that is tested."""
    version, flags, index, total, check, count, digest = (
        fields.get(name, default)
        for name, default in {
            "version": 1,
            "flags": 0,
            "index": 0,
            "total": 0,
            "check": zlib.crc32(DATA),
            "count": len(untrue) // 8,
            "digest": bytes(16),
        }.items()
    )
    chunk = chunk_of(512)
    at = 4032 - len(untrue)
    chunk[at:4096] = untrue + struct.pack(
        "<8sIHH16s4I16s",
        *(b"NDZSEAL\0", 0, version, flags, b"i" * 16, index, total, check, count, digest),
    )
    reseal(chunk)
    return chunk


@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize(
    ("fields", "seal"),
    [
        ({}, {}),
        ({"index": 5, "total": 6}, {"index": 5, "total": 6}),
        ({"check": 0xDEADBEEF}, {"data_check": 0xDEADBEEF}),
        (
            {"untrue": struct.pack("<6I", 1, 2, 40, 1, 50, 3)},
            {"untrue": ((1, 2), (40, 1), (50, 3))},
        ),
        (
            {"version": 2, "flags": 3 << 8, "digest": b"0123456789abcdef"},
            {"sector_size": 4096, "digest": b"0123456789abcdef"},
        ),
    ],
)
def test_what_is_written_and_read_is_what_is_described(is_last, fields, seal):
    known = {"image_id": b"i" * 16, "index": 0, "data_check": zlib.crc32(DATA)}
    expected = Seal(**known | seal | {"is_last": is_last})
    described = sealed(**fields | {"flags": fields.get("flags", 0) | is_last})
    written = chunk_of(512)
    written[4032:4096] = bytes(64)
    seal_chunk(written, expected)
    assert written == described
    read = read_seal(described, parse_header(described, 0))
    assert read == expected
    assert all(isinstance(run, Region) for run in read.untrue)


def tables_end(chunk):
    return parse_header(chunk, 0).tables_end


@pytest.mark.parametrize("version", [1, 4])
def test_untrue_ranges_may_fill_all_that_the_tables_leave(version):
    header = ChunkHeader(
        version=version, size=10, index=0, first=8, last=16, regions=(Region(8, 8),)
    )
    ranges = struct.pack("<II", 3, 1) * ((4032 - header.tables_end) // 8)
    assert header.tables_end + len(ranges) == 4032
    chunk = sealed(untrue=ranges)
    chunk[: header.tables_end] = header.pack()[: header.tables_end]
    reseal(chunk)
    assert read_seal(chunk, parse_header(chunk, 0)).untrue == ((3, 1),) * (len(ranges) // 8)


def test_more_untrue_ranges_than_there_is_room_for_are_damage():
    most = (4032 - tables_end(chunk_of(512))) // 8
    for count in (most + 1, 1 << 20):
        chunk = sealed(count=count)
        with pytest.raises(DamagedChunk, match="chunk 0: the end of its header is not empty"):
            read_seal(chunk, parse_header(chunk, 0))


@pytest.mark.parametrize("where", ["first", "last"])
def test_what_is_between_tables_and_untrue_ranges_is_empty(where):
    chunk = sealed(untrue=struct.pack("<II", 3, 1))
    chunk[tables_end(chunk) if where == "first" else 4023] = 1
    reseal(chunk)
    with pytest.raises(DamagedChunk, match="chunk 0: the end of its header is not empty before"):
        read_seal(chunk, parse_header(chunk, 0))


@pytest.mark.parametrize("at", ["tables", 4031, 4032, 4095])
def test_without_a_seal_the_end_of_the_header_is_empty(at):
    chunk = chunk_of(512)
    chunk[4032:4096] = bytes(64)
    header = parse_header(chunk, 0)
    assert read_seal(chunk, header) is None
    chunk[header.tables_end if at == "tables" else at] = 1
    with pytest.raises(DamagedChunk, match="chunk 0: the end of its header is neither empty nor"):
        read_seal(chunk, header)


@pytest.mark.parametrize(
    ("version", "flags", "is_known"),
    [(1, 0, True), (1, 1 << 8, False), (2, 3 << 8, True), (2, 4 << 8, False), (3, 0, False)],
)
def test_sizes_of_sectors_and_versions_to_come_are_told_from_damage(version, flags, is_known):
    chunk = sealed(version=version, flags=flags)
    if is_known:
        assert read_seal(chunk, parse_header(chunk, 0)).sector_size == 512 << (flags >> 8)
        return
    words = rf"chunk 0: has a seal of version {version} with flags 0x{flags:x}, which this program "
    with pytest.raises(DamagedChunk, match=words + "does not know: a later one can read it"):
        read_seal(chunk, parse_header(chunk, 0))


def test_a_digest_in_a_seal_of_version_1_means_nothing():
    chunk = sealed(digest=b"0123456789abcdef")
    assert read_seal(chunk, parse_header(chunk, 0)).digest == b""


@pytest.mark.parametrize("place", [0, 3])
def test_sectors_are_checked_piece_by_piece(place):
    digest = hashlib.blake2b(DATA, digest_size=16).digest()
    check = zlib.crc32(DATA)
    for seal, is_right in (
        (None, True),
        (Seal(image_id=b"", index=0, data_check=check), True),
        (Seal(image_id=b"", index=0, data_check=check ^ 1), False),
        (Seal(image_id=b"", index=0, data_check=check, digest=digest), True),
        (Seal(image_id=b"", index=0, data_check=check ^ 1, digest=digest), False),
        (Seal(image_id=b"", index=0, data_check=check, digest=digest[::-1]), False),
    ):
        sectors = SectorsCheck(seal)
        for start in range(0, len(DATA), 5000):
            sectors.update(DATA[start : start + 5000])
        if is_right:
            sectors.finish(place)
            continue
        words = f"chunk {place}: its sectors are not those that were sealed"
        with pytest.raises(DamagedChunk, match=words):
            sectors.finish(place)


def test_which_chunk_was_altered_is_told():
    chunk = sealed()
    chunk[-1] ^= 1
    with pytest.raises(DamagedChunk, match="chunk 0: its bytes are not those that were sealed"):
        read_seal(chunk, parse_header(chunk, 0))


def test_how_much_room_entries_take():
    assert (table_size(3), table_size(3, 2), table_size(3, 2, 1)) == (24, 56, 64)
    assert table_size(461) == TABLE_ROOM
