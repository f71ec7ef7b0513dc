"""Chunks that come in any order are one whole image, or are refused as the check refuses them."""

import itertools
import struct
import zlib

import pytest

from rhubarbe.ndz.chunkset import ChunkSet, VouchedChunks
from rhubarbe.ndz.digests import ALGORITHMS, digest
from rhubarbe.ndz.errors import DamagedChunk, TruncatedImage
from rhubarbe.ndz.header import CHUNK, Region
from rhubarbe.ndz.manifest import Manifest, ManifestMaker, Vouched

ORDERS = list(itertools.permutations(range(3)))


def chunk(index, first=None, *, version=3, total=0, relocations=()):
    """One unsealed chunk of two sectors, which covers ten."""
    first = index * 10 if first is None else first
    body = zlib.compress(bytes(1024))
    area = struct.pack("<IIiiii", 0x69696968 + version, len(body), index, total, 4096, 1)
    if version > 1:
        area += struct.pack("<III", first, first + 10, len(relocations))
    area += struct.pack("<II", first, 2)
    area += b"".join(struct.pack("<IIII", *each) for each in relocations)
    return (area.ljust(4096, b"\0") + body).ljust(CHUNK, b"\0")


def opened(chunks, order):
    taken = ChunkSet()
    for place in order:
        taken.open(chunks[place], place)
    return taken


@pytest.mark.parametrize("order", ORDERS)
def test_a_whole_image_comes_in_any_order(order):
    opened([chunk(index) for index in range(3)], order).finish()
    opened([chunk(index, version=1, total=3) for index in range(3)], order).finish()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("starts", [(0, 9, 20), (0, 10, 19), (20, 10, 0), (0, 20, 10), (0, 0, 20)])
def test_chunks_that_overlap_or_go_back_are_refused_in_any_order(order, starts):
    chunks = [chunk(index, start) for index, start in enumerate(starts)]
    with pytest.raises(DamagedChunk, match="covers sectors from"):
        opened(chunks, order)


@pytest.mark.parametrize("order", ORDERS)
def test_nothing_follows_the_end_of_an_image(order):
    chunks = [chunk(0), chunk(1, relocations=[(6, 11, 0, 100)]), chunk(2)]
    with pytest.raises(DamagedChunk, match="chunk 2: the image ends before it, in chunk 1"):
        opened(chunks, order)


@pytest.mark.parametrize(("total", "count"), [(4, 3), (2, 3), (3, 1)])
def test_the_first_version_says_how_many_there_are(total, count):
    taken = opened([chunk(i, version=1, total=total) for i in range(count)], range(count))
    with pytest.raises((TruncatedImage, DamagedChunk)):
        taken.finish()


def test_chunks_of_the_first_version_agree_on_their_number():
    chunks = [chunk(0, version=1, total=2), chunk(1, version=1, total=0)]
    with pytest.raises(DamagedChunk, match="chunk 1: of 0 chunks, not 2"):
        opened(chunks, range(2))


def test_a_missing_chunk_is_named_and_one_that_is_there_twice():
    with pytest.raises(TruncatedImage, match="chunk 1: missing"):
        opened([chunk(0), b"", chunk(2)], [2, 0]).finish()
    with pytest.raises(TruncatedImage, match="empty"):
        ChunkSet().finish()
    with pytest.raises(DamagedChunk, match="chunk 0: is there twice"):
        opened([chunk(0)], [0, 0])


def manifest(chunks):
    maker = ManifestMaker()
    for index, each in enumerate(chunks):
        regions = (Region(index * 10, 2),)
        whole, sectors = digest(ALGORITHMS[0], each), digest(ALGORITHMS[0], bytes(1024))
        maker.add(Vouched(whole, sectors, regions, index * 10, index * 10 + 10))
    return Manifest.parse(maker.finish(), None)


def test_only_what_a_manifest_vouches_for_is_taken_once_and_wholly():
    chunks = [chunk(index) for index in range(3)]
    taken = VouchedChunks(manifest(chunks))
    assert taken.open(chunks[2], 2).header.regions == (Region(20, 2),)
    for place, other, words in (
        (0, chunks[1], "not the one that the manifest vouches for"),
        (0, chunk(0, 1), "not the one that the manifest vouches for"),
        (2, chunks[2], "is there twice"),
        (3, chunk(3), "one too many, the manifest has 3 chunks"),
    ):
        with pytest.raises(DamagedChunk, match=f"chunk {place}: {words}"):
            taken.open(other, place)
    with pytest.raises(TruncatedImage, match="chunk 0: missing, the manifest has it"):
        taken.finish()
    for place in (1, 0):
        taken.open(chunks[place], place)
    taken.finish()
