"""Any regions and data survive; any damage of a sealed image is found and named."""

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhubarbe.ndz.check import ImageChecker, check_chunk, check_file
from rhubarbe.ndz.chunkset import ChunkSet
from rhubarbe.ndz.deflate import BATCH, BATCH_EXTENTS, Batch, Deflater, Packer
from rhubarbe.ndz.errors import DamagedChunk, ImageTooLarge, NdzError
from rhubarbe.ndz.header import SECTORS_MAX, Region, Relocation, parse_header
from rhubarbe.ndz.inflate import PIECE, inflate
from rhubarbe.ndz.seal import TABLE_ROOM, read_seal
from rhubarbe.ndz.stored import stored

CHUNK = 1 << 20


def sectors(regions, seed, *, is_noise=True):
    """One piece of data for each region: noise, or text that compresses well."""
    chance = random.Random(seed)
    size = sum(region.size for region in regions) * 512
    return chance.randbytes(size) if is_noise else (b"%d," % seed * (size // 2))[:size]


def pack(batches, *, end, level=1, image_id=b"i" * 16, **options):
    packer = Packer(image_id=image_id, level=level, **options)
    chunks = []
    for batch in batches:
        chunks.extend(packer.add(Deflater(level).deflate(batch)))
    chunks.extend(packer.finish(end))
    return [bytes(chunk) for chunk in chunks]


def unpack(chunks):
    """Return sector -> bytes, by plain zlib rather than by the engine under test."""
    found = {}
    for place, chunk in enumerate(chunks):
        header = parse_header(chunk, place)
        data = zlib.decompress(chunk[4096 : 4096 + header.size])
        found.update(by_sector(header.regions, data))
    return found


def by_sector(regions, data):
    numbers = [number for region in regions for number in range(region.start, region.end)]
    assert len(data) == len(numbers) * 512
    return {number: data[at * 512 : at * 512 + 512] for at, number in enumerate(numbers)}


@st.composite
def batches(draw):
    made, sector = [], 0
    for _ in range(draw(st.integers(1, 60))):
        regions = []
        room = 256
        for _ in range(draw(st.integers(1, 20))):
            sector += draw(st.integers(0, 9))
            size = draw(st.integers(1, 40))
            if size > room:
                break
            regions.append(Region(sector, size))
            sector += size
            room -= size
        if regions:
            data = sectors(regions, draw(st.integers(0, 99)), is_noise=draw(st.booleans()))
            made.append(Batch(tuple(regions), memoryview(data)))
    return made


@settings(max_examples=30)
@given(batches(), st.sampled_from([0, 1, 2, 3, 4, 9]), st.integers(0, 1000))
def test_any_regions_and_data_survive(made, level, tail):
    expected = {}
    for batch in made:
        expected.update(by_sector(batch.extents, bytes(batch.data)))
    end = max(expected, default=0) + 1 + tail
    chunks = pack(made, end=end, level=level)
    assert unpack(chunks) == expected
    checker = ImageChecker()
    for chunk in chunks:
        checker.feed(chunk)
    summary = checker.finish()
    assert (summary.sectors, summary.data_sectors) == (end, len(expected))
    assert summary.is_sealed


def test_level_3_takes_more_pains_over_what_deflates_well_only():
    chance = random.Random(3)
    words = [chance.randbytes(9) for _ in range(50)]
    text = b"".join(chance.choice(words) for _ in range(15_000))[: 256 * 512]
    half = b"".join(chance.randbytes(9) + text[at : at + 9] for at in range(0, len(text), 18))
    sizes = {}
    for level in (2, 3, 5):
        for name, data in (("text", text), ("half", half[: len(text)])):
            batch = Batch((Region(0, 256),), memoryview(data))
            sizes[name, level] = len(Deflater(level).deflate(batch).deflated)
    assert sizes["text", 2] > sizes["text", 3] == sizes["text", 5]
    assert sizes["half", 2] == sizes["half", 3] > sizes["half", 5]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_what_does_not_deflate_is_stored(level):
    noise = random.Random(level).randbytes(BATCH)
    mostly = (noise[: BATCH // 20 * 19] + b"what deflates\n" * BATCH)[:BATCH]
    deflater = Deflater(level)
    for data, is_stored in ((noise, True), (mostly, False), (noise[:512], True)):
        deflated = deflater.deflate(Batch((Region(0, 1),), memoryview(data))).deflated
        assert (deflated == stored(memoryview(data))) == is_stored
        assert len(deflated) < len(data) + 16
        inflater = zlib.decompressobj(-15)
        assert inflater.decompress(deflated) == data
        assert not inflater.eof


def test_chunks_are_filled_well_and_follow_each_other():
    made = [
        Batch((Region(n * 256, 256),), memoryview(sectors([Region(0, 256)], n))) for n in range(80)
    ]
    chunks = pack(made, end=80 * 256)
    headers = [parse_header(chunk, place) for place, chunk in enumerate(chunks)]
    assert [h.first for h in headers[1:]] == [h.last for h in headers[:-1]]
    assert headers[0].first == 0
    assert headers[-1].last == 80 * 256
    assert all(header.size > 0.97 * (CHUNK - 4096) for header in headers[:-1])


def test_many_small_regions_leave_room_for_the_seal():
    made = []
    for start in range(0, 4000, BATCH_EXTENTS):
        regions = tuple(Region(2 * n, 1) for n in range(start, start + BATCH_EXTENTS))
        made.append(Batch(regions, memoryview(bytes(512 * len(regions)))))
    for options in ({}, {"uuid": b"u" * 16}):
        chunks = pack(made, end=9000, **options)
        headers = [check_chunk(chunk, place).header for place, chunk in enumerate(chunks)]
        assert max(len(header.regions) for header in headers) <= 461
        assert len(headers) > 4000 // 461


def test_free_space_before_the_first_data_is_covered():
    chunk = pack([Batch((Region(100, 1),), memoryview(bytes(512)))], end=200)[0]
    header = parse_header(chunk, 0)
    assert (header.first, header.last) == (0, 200)


def test_what_32_bits_cannot_count_is_refused():
    batch = Deflater().deflate(Batch((Region(SECTORS_MAX, 1),), memoryview(bytes(512))))
    with pytest.raises(ImageTooLarge, match=f"sector {SECTORS_MAX}"):
        list(Packer(image_id=bytes(16)).add(batch))


def test_untrue_ranges_are_in_the_seal():
    untrue = (Region(3, 1), Region(7, 2))
    batch = Batch((Region(0, 10),), memoryview(bytes(5120)), untrue=untrue)
    checked = check_chunk(pack([batch], end=10)[0], 0)
    assert checked.seal.untrue == untrue


@pytest.fixture(scope="module")
def sealed():
    """An image of four chunks, three of them full."""
    made = [
        Batch((Region(n * 300, 256),), memoryview(sectors([Region(0, 256)], n))) for n in range(27)
    ]
    chunks = pack(made, end=9000)
    assert len(chunks) == 4
    return chunks


def check(data, tmp_path):
    path = tmp_path / "some.ndz"
    path.write_bytes(data)
    return check_file(path)


@settings(max_examples=60)
@given(bit=st.integers(0, 4 * CHUNK * 8 - 1))
def test_any_flipped_bit_is_found_and_named(sealed, tmp_path_factory, bit):
    data = bytearray(b"".join(sealed))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NdzError, match=rf"some.ndz: .*chunk {bit // 8 // CHUNK}\b"):
        check(data, tmp_path_factory.mktemp("flipped"))


def test_any_flipped_bit_of_a_header_area_is_found(sealed):
    for bit in range(0, 4096 * 8, 7):
        chunk = bytearray(sealed[1])
        chunk[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NdzError):
            check_chunk(chunk, 1)


@settings(max_examples=40)
@given(size=st.integers(0, 4 * CHUNK - 1))
def test_any_truncation_is_found_and_named(sealed, tmp_path_factory, size):
    expected = rf"chunk {size // CHUNK}: (cut short|missing)" if size else "empty"
    with pytest.raises(NdzError, match=expected):
        check(b"".join(sealed)[:size], tmp_path_factory.mktemp("cut"))


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([0, 2, 3], "chunk 1: says that it is chunk 2"),
        ([0, 1, 1, 2, 3], "chunk 2: says that it is chunk 1"),
        ([1, 0, 2, 3], "chunk 0: says that it is chunk 1"),
        ([0, 1, 2, 3, 3], "chunk 4: says that it is chunk 3"),
        ([0, 1, 2], "chunk 3: missing, the image ends before its last chunk"),
    ],
)
def test_missing_repeated_and_misplaced_chunks_are_named(sealed, tmp_path, order, words):
    with pytest.raises(NdzError, match=words):
        check(b"".join(sealed[place] for place in order), tmp_path)


def test_a_chunk_of_another_image_is_named(sealed, tmp_path):
    made = [
        Batch((Region(n * 300, 256),), memoryview(sectors([Region(0, 256)], n))) for n in range(27)
    ]
    other = pack(made, end=9000, image_id=b"j" * 16)
    mixed = [sealed[0], other[1], *sealed[2:]]
    with pytest.raises(DamagedChunk, match="chunk 1: belongs to another image"):
        check(b"".join(mixed), tmp_path)


def test_a_tail_that_is_neither_zeros_nor_a_seal_is_damage(small_image):
    for at in (44, 2000, 4032, 4095):
        data = bytearray(small_image("d4-raw"))
        data[at] = 1
        with pytest.raises(DamagedChunk, match="neither empty nor a seal"):
            check_chunk(data, 0)


def test_the_layout_of_a_seal_byte_by_byte():
    chunk = pack([Batch((Region(4, 1),), memoryview(b"x" * 512))], end=6)[0]
    assert chunk[4032:4040] == b"NDZSEAL\0"
    blanked = chunk[:4040] + bytes(4) + chunk[4044:]
    assert int.from_bytes(chunk[4040:4044], "little") == zlib.crc32(blanked)
    assert chunk[4044:4048] == b"\1\0\1\0"
    assert chunk[4048:4064] == b"i" * 16
    assert chunk[4064:4072] == b"\0\0\0\0\1\0\0\0"
    assert int.from_bytes(chunk[4072:4076], "little") == zlib.crc32(b"x" * 512)
    assert chunk[4076:4096] == bytes(20)
    assert chunk[44:4032] == bytes(4032 - 44)


def test_chunks_in_any_order_are_a_set(sealed):
    chunks = ChunkSet()
    for place in (2, 0, 3, 1):
        chunks.open(sealed[place], place)
    chunks.finish()
    with pytest.raises(DamagedChunk, match="chunk 1: is there twice"):
        chunks.open(sealed[1], 1)


@pytest.mark.parametrize("missing", range(4))
def test_a_set_names_what_is_missing(sealed, missing):
    chunks = ChunkSet()
    for place in range(4):
        if place != missing:
            chunks.open(sealed[place], place)
    with pytest.raises(NdzError, match=f"chunk {missing}: missing"):
        chunks.finish()


def test_pieces_of_a_large_chunk_are_bounded(small_image):
    chunk = small_image("d4-raw")
    assert {len(piece) for piece in inflate(chunk, parse_header(chunk, 0))} == {PIECE}
    assert read_seal(chunk, parse_header(chunk, 0)) is None


def batches_of(*runs):
    """A batch of noise for each run, (start, size) in sectors."""
    return [
        Batch((Region(*run),), memoryview(sectors([Region(*run)], seed)))
        for seed, run in enumerate(runs)
    ]


def test_each_relocation_is_in_the_chunk_that_has_its_sector():
    runs = [(n * 300, 256) for n in range(24)]  # of noise: three chunks
    places = [5, 7000, 255, 300, 3000, 256, 0]  # 256 is not stored
    relocations = [Relocation(3, sector, number, 5) for number, sector in enumerate(places)]
    chunks = pack(batches_of(*runs), end=7200, relocations=relocations)
    assert len(chunks) > 2
    headers = [parse_header(chunk, place) for place, chunk in enumerate(chunks)]
    for header in headers:
        inside = [r for r in relocations if header.first <= r.sector < header.last]
        assert list(header.relocations) == [r for r in inside if r.sector != 256]
    assert sum(len(header.relocations) for header in headers) == len(places) - 1


def test_more_relocations_than_a_header_has_room_for_close_the_chunk():
    relocations = [Relocation(4, n // 2, 0, 512) for n in range(2000)]
    chunks = pack(
        batches_of((0, 256), (256, 256), (512, 256), (768, 232)), end=1000, relocations=relocations
    )
    found = [parse_header(chunk, place).relocations for place, chunk in enumerate(chunks)]
    assert max(map(len, found)) <= TABLE_ROOM // 16
    assert [each for some in found for each in some] == relocations
    assert sorted(unpack(chunks)) == list(range(1000))


def test_a_table_in_two_chunks_is_refused():
    """No reader could make its checksum true."""
    relocations = [Relocation(5, 255, 0, 2)]
    split = [Batch((Region(n * 256, 256),), memoryview(bytes(256 * 512))) for n in range(2)]
    assert len(pack(split, end=512, relocations=relocations)) == 1
    noise = batches_of(*[(n * 256, 256) for n in range(16)])
    ends = [h.regions[-1].end for h in map(parse_header, pack(noise, end=4096), range(3))]
    with pytest.raises(NdzError, match=r"two chunks, so that no relocation .*; with -N"):
        pack(noise, end=4096, relocations=[Relocation(5, ends[0] - 1, 0, 2)])
    with pytest.raises(NdzError, match="two chunks"):
        pack(noise, end=4096, relocations=[Relocation(3, ends[0] - 1, 509, 5)])
