import hashlib
import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.ndz.check import ImageChecker, check_file
from rhubarbe.ndz.digests import ALGORITHMS, Algorithm, digest
from rhubarbe.ndz.errors import BadManifest, DamagedChunk, ImageTooLarge
from rhubarbe.ndz.header import CHUNK, Region, parse_header
from rhubarbe.ndz.inflate import inflate
from rhubarbe.ndz.manifest import (
    MANIFEST_MOST_BYTES,
    Manifest,
    ManifestMaker,
    Vouched,
    manifest_digest,
)

HEADER = 24
DIGESTS = 32
EMPTY = Vouched(bytes(16), bytes(16), (), 0, 0)
some = random.Random(7)


@st.composite
def images(draw):
    """What some chunks of one image must be: in any unit, with and without regions."""
    reach, chunks = 0, []
    for _ in range(draw(st.integers(1, 5))):
        unit = draw(st.sampled_from([1, 1, 2, 8, 64, 4096]))
        steps = st.integers(0, draw(st.sampled_from([2, 200, 20000])))
        first = reach = reach + draw(steps) * unit
        regions = []
        for _ in range(draw(st.integers(0, 6))):
            regions.append(Region(reach + draw(steps) * unit, (draw(steps) + 1) * unit))
            reach = regions[-1].end
        reach += draw(steps) * unit
        digests = draw(st.binary(min_size=32, max_size=32))
        chunks.append(Vouched(digests[:16], digests[16:], tuple(regions), first, reach))
    return chunks


def made(chunks, algorithm=ALGORITHMS[0]):
    maker = ManifestMaker(algorithm)
    for vouched in chunks:
        maker.add(vouched)
    return maker.finish()


def packed(numbers, *, chunks=1, size=None, version=1, algorithm=1, rest=0, digests=None):
    """Pack a manifest by hand."""
    size = len(numbers) if size is None else size
    header = struct.pack("<8sHHIII", b"NDZMANI\0", version, algorithm, chunks, size, rest)
    return header + (digests or bytes(DIGESTS) * chunks) + zlib.compress(numbers)


def refused(data, match="manifest: ", digest=None):
    with pytest.raises(BadManifest, match=match) as caught:
        Manifest.parse(data, digest)
    assert "\n" not in str(caught.value)


@given(images(), st.sampled_from(ALGORITHMS))
def test_what_is_told_is_what_is_read(chunks, algorithm):
    data = made(chunks, algorithm)
    for given_digest in (manifest_digest(data), bytes.fromhex(manifest_digest(data)).hex().upper()):
        manifest = Manifest.parse(data, given_digest)
        assert [manifest.vouched(i) for i in range(manifest.chunks)] == chunks
        assert manifest.covered == chunks[-1].last
        regions = [region for chunk in chunks for region in chunk.regions]
        assert manifest.data_end == (regions[-1].end if regions else 0)


@given(images(), st.data())
def test_every_altered_byte_is_refused_by_the_digest(chunks, data):
    good = made(chunks)
    altered = bytearray(good)
    altered[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    refused(bytes(altered), "not the one whose digest was given", manifest_digest(good))


@given(images(), st.data())
def test_what_is_altered_and_trusted_is_read_or_refused_and_nothing_else(chunks, data):
    altered = bytearray(made(chunks))
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    try:
        manifest = Manifest.parse(bytes(altered), None)
    except BadManifest:
        return
    for index in range(manifest.chunks):
        regions = manifest.vouched(index).regions
        assert all(region.size > 0 and region.end < 1 << 32 for region in regions)


@given(st.binary(max_size=300), st.integers(1, 8))
def test_any_numbers_are_read_or_refused(numbers, chunks):
    try:
        Manifest.parse(packed(numbers, chunks=chunks), None)
    except BadManifest:
        return


@given(images(), st.integers(0, 1 << 16))
def test_what_is_cut_short_is_refused(chunks, length):
    data = made(chunks)
    refused(data[: length % len(data)])


def test_what_is_too_long_is_refused():
    data = made([EMPTY])
    refused(data + b"\0", "not whole")
    refused(data + bytes(MANIFEST_MOST_BYTES), "more than 67108864 bytes")


@pytest.mark.parametrize("digest", ["", "0" * 64, "no digits", b"", bytes(32), "é" * 64])
def test_another_digest_is_refused(digest):
    refused(made([EMPTY]), "not the one whose digest was given", digest)


def test_what_is_none_says_so():
    refused(b"", "not a manifest")
    refused(b"NDZSEAL\0" + bytes(100), "not a manifest")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"version": 2}, "newer version: its layout is 2, not 1"),
        ({"version": 7}, "newer version: its layout is 7, not 1"),
        ({"rest": 5}, "newer version, or damaged: 5 where 0 must be"),
        ({"algorithm": 9}, "newer version: its digests are of kind 9"),
        ({"chunks": 0}, "damaged: it is of no chunk at all"),
        ({"chunks": 2, "size": 7}, "damaged: 7 bytes cannot hold the regions of 2 chunks"),
        ({"size": 1 << 30}, "1 chunks, regions of 1073741824 bytes: more than is taken"),
        ({"size": 5}, "not whole: its regions do not take the 5 bytes"),
    ],
)
def test_what_is_wrong_with_a_header_is_said(fields, words):
    refused(packed(bytes(4), **fields), words)


@pytest.mark.parametrize("later", [{"version": 2}, {"algorithm": 3}, {"algorithm": 0}, {"rest": 1}])
def test_a_later_layout_is_told_from_damage(later):
    refused(packed(bytes(4), **later), "made by a newer version")


def test_digests_that_this_python_cannot_make_are_named(monkeypatch):
    monkeypatch.setattr("rhubarbe.ndz.manifest.ALGORITHMS", (Algorithm.BLAKE2B,))
    refused(packed(bytes(4), algorithm=2), "BLAKE3, for which the Python module blake3 is needed")


def bomb(length):
    packer = zlib.compressobj(1)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(length)), packer.flush()])


@pytest.mark.parametrize(
    ("chunks", "size"),
    [
        (1, 4),
        (1, 5000),
        ((1 << 32) - 1, 100),
        ((1 << 32) - 1, (1 << 32) - 1),
        (1, 64 << 20),
        (0, 0),
    ],
)
def test_counts_and_streams_that_would_fill_the_memory_are_refused(chunks, size):
    header = struct.pack("<8sHHIII", b"NDZMANI\0", 1, 1, chunks, size, 0)
    data = header + bytes(DIGESTS) + bomb(8)
    tracemalloc.start()
    try:
        refused(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        (b"\x08\0\0\0", r"chunk 0: lengths in units of 2\^8 sectors"),
        (b"\0\xff\xff\x03\0" + bytes(9), "regions, no chunk has so many"),
        (b"\0\1\0\5\0\0", "chunk 0: an empty region"),
        (b"\0\0\0\xff\xff\xff\xff\x7f", "chunk 0: ends at sector 34359738367, beyond the last"),
        (b"\0\0\0\xff\xff\xff\xff\xff\1", "cut short"),
        (b"\0\0\0\x80", "cut short"),
        (b"\0\2\0\1\1", "cut short"),
        (b"\0\0\0\0\0", "damaged: 1 bytes follow its 1 chunks"),
    ],
)
def test_numbers_that_cannot_be_are_refused(numbers, match):
    refused(packed(numbers), match)


def test_an_image_that_no_reader_would_take_has_no_manifest(monkeypatch):
    monkeypatch.setattr("rhubarbe.ndz.manifest._ROOM", 100)
    maker = ManifestMaker()
    maker.add(EMPTY)
    maker.add(EMPTY)
    with pytest.raises(ImageTooLarge, match="chunk 2: "):
        maker.add(EMPTY)


def test_the_image_of_a_full_disk_of_50_gb_has_a_manifest_of_less_than_5_mb():
    chunks, reach = [], 0
    for _ in range(5_000):  # a tenth of it
        regions, first = [], reach
        for _ in range(some.randint(1, 40)):  # in blocks of 4096 bytes, as filesystems have them
            start = reach + 8 * int(some.expovariate(1 / 60))
            regions.append(Region(start, 8 + 8 * int(some.expovariate(1 / 20))))
            reach = regions[-1].end
        chunks.append(Vouched(some.randbytes(16), some.randbytes(16), tuple(regions), first, reach))
    data = made(chunks)
    assert len(data) < 500_000
    manifest = Manifest.parse(data, manifest_digest(data))
    assert manifest.vouched(4_999) == chunks[4_999]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["d4-raw", "d8-l", "d7-file", "d2-s3"])
def test_the_manifest_of_an_image_says_what_is_in_it(small_image, tmp_path, name, algorithm):
    image = small_image(name)
    path = tmp_path / "image.ndz"
    path.write_bytes(image)
    maker = ManifestMaker(algorithm)
    check_file(path, manifest=maker)
    data = maker.finish()
    manifest = Manifest.parse(data, manifest_digest(data))
    assert manifest.algorithm == algorithm
    assert manifest.chunks == len(image) // CHUNK
    for index in range(manifest.chunks):
        chunk = image[index * CHUNK : (index + 1) * CHUNK]
        header, vouched = parse_header(chunk, index), manifest.vouched(index)
        sectors = b"".join(inflate(chunk, header))
        assert (vouched.first, vouched.last) == (header.first, header.last)
        assert vouched.regions == header.regions
        assert vouched.sectors == digest(algorithm, sectors)
        assert manifest.vouches(index, chunk)
        assert not manifest.vouches(index + 1, chunk)
        assert not manifest.vouches(-1, chunk)
        for at in (0, 4000, 4096, CHUNK - 1):
            forged = bytearray(chunk)
            forged[at] ^= 1
            assert not manifest.vouches(index, forged)


def test_a_stream_of_chunks_gives_the_same_manifest_as_its_file(small_image, tmp_path):
    path = tmp_path / "image.ndz"
    path.write_bytes(small_image("d4-raw"))
    from_file, from_stream = ManifestMaker(), ManifestMaker()
    check_file(path, manifest=from_file)
    checker = ImageChecker(from_stream)
    checker.feed(path.read_bytes())
    checker.finish()
    assert from_file.finish() == from_stream.finish()


def test_a_damaged_image_has_no_manifest(small_image, tmp_path):
    path = tmp_path / "image.ndz"
    path.write_bytes(small_image("d4-raw") * 2)
    with pytest.raises(DamagedChunk):
        check_file(path, manifest=ManifestMaker())


def test_a_chunk_that_the_image_has_not_is_refused():
    manifest = Manifest.parse(made([EMPTY]), None)
    for index in (-1, 1, 1 << 40):
        with pytest.raises(BadManifest, match="no chunk"):
            manifest.vouched(index)


def test_the_digests_are_the_standard_ones():
    assert digest(Algorithm.BLAKE2B, b"abc") == hashlib.blake2b(b"abc", digest_size=16).digest()
    if Algorithm.BLAKE3 in ALGORITHMS:  # the first 16 bytes of the value that its authors publish
        assert digest(Algorithm.BLAKE3, b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc949"
