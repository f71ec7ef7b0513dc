import threading
from dataclasses import replace

import pytest

from rhubarbe.ndz import check
from rhubarbe.ndz.check import ImageChecker, check_file
from rhubarbe.ndz.deflate import Batch, Deflater, Packer
from rhubarbe.ndz.errors import (
    CheckStopped,
    DamagedChunk,
    NdzError,
    NotAnImage,
    TruncatedImage,
    UnsupportedImage,
)
from rhubarbe.ndz.header import Region, parse_header
from rhubarbe.ndz.seal import read_seal, seal_chunk

CHUNK = 1 << 20


@pytest.fixture
def image(tmp_path):
    def write(data, name="some.ndz"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "sectors", "data"), [("d4-raw", 16384, 16384), ("d8-l", 32768, 4394)]
)
def test_a_good_image_is_summed_up(small_image, image, name, sectors, data):
    path = image(small_image(name))
    summary = check_file(path)
    assert (summary.chunks, summary.size_bytes, summary.version) == (1, CHUNK, 3)
    assert (summary.sectors, summary.data_sectors) == (sectors, data)
    checker = ImageChecker()
    checker.feed(path.read_bytes())
    assert checker.finish() == summary


def test_all_golden_images_are_whole(golden_directory, golden_results):
    for name, facts in golden_results.items():
        if facts["chunks"]:
            assert check_file(golden_directory / "ndz" / f"{name}.ndz").chunks == facts["chunks"]


@pytest.mark.parametrize("size", [1, 4096, CHUNK - 1, CHUNK + 1, CHUNK + 4096])
def test_a_size_that_is_no_whole_number_of_chunks_is_refused(small_image, image, size):
    path = image((small_image("d4-raw") * 2)[:size])
    with pytest.raises(TruncatedImage, match=rf"some.ndz: chunk {size // CHUNK}: cut short"):
        check_file(path)


def test_nothing_is_no_image(image):
    with pytest.raises(TruncatedImage, match=r"some.ndz: the image is empty"):
        check_file(image(b""))


def test_other_bytes_are_no_image(image):
    with pytest.raises(NotAnImage, match=r"some.ndz: not an ndz image: bad magic 0x64646464"):
        check_file(image(b"d" * CHUNK))


def test_a_chunk_of_another_place_is_named(small_image, image):
    path = image(small_image("d4-raw") * 2)
    with pytest.raises(DamagedChunk, match=r"some.ndz: chunk 1: says that it is chunk 0"):
        check_file(path)


def test_a_damaged_stream_is_named(small_image, image):
    data = bytearray(small_image("d7-file"))
    data[4096 + 90000] ^= 0x10
    with pytest.raises(DamagedChunk, match=r"some.ndz: chunk 0: in"):
        check_file(image(data))


def test_a_stream_that_says_a_wrong_size_is_refused(small_image):
    data = bytearray(small_image("d8-l"))
    size = int.from_bytes(data[4:8], "little")
    for wrong, words in ((size - 1, "ends too early"), (size + 1, "bytes too many")):
        data[4:8] = wrong.to_bytes(4, "little")
        with pytest.raises(DamagedChunk, match=words):
            ImageChecker().feed(data)


def test_regions_and_stream_of_other_lengths_are_refused(small_image):
    data = bytearray(small_image("d4-raw"))
    for sectors, words in ((16383, "inflates to more than"), (16385, "inflates to 8388608")):
        data[40:44] = sectors.to_bytes(4, "little")
        data[28:32] = (20000).to_bytes(4, "little")
        with pytest.raises(DamagedChunk, match=words):
            ImageChecker().feed(data)


def test_ranges_that_go_back_are_refused(small_image):
    first, second = small_image("d4-raw"), bytearray(small_image("d4-raw"))
    second[8] = 1
    checker = ImageChecker()
    checker.feed(first)
    with pytest.raises(DamagedChunk, match="chunk 1: covers sectors from 0"):
        checker.feed(second)


def test_an_encrypted_chunk_is_refused_in_one_line(small_image):
    data = small_image("d4-raw")
    regions = data[36:44]
    area = b"\x6c" + data[1:36] + b"\1\0\0\0" + bytes(304) + regions
    chunk = area.ljust(4096, b"\0") + data[4096:]
    with pytest.raises(UnsupportedImage, match="obsolete cipher"):
        ImageChecker().feed(chunk)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_file(tmp_path / "none.ndz")


def test_a_check_that_nobody_wants_any_more_ends_with_the_chunks_at_hand(
    small_image, image, monkeypatch
):
    stop, looked_at = threading.Event(), []

    def check_chunk(chunk, place, algorithm):
        looked_at.append(place)
        if len(looked_at) >= 5:
            stop.set()
        return real(small_image("d4-raw"), 0)

    real = check.check_chunk
    monkeypatch.setattr(check, "check_chunk", check_chunk)
    with pytest.raises(CheckStopped):
        check_file(image(small_image("d4-raw") * 50), threads=3, stop=stop)
    assert 5 <= len(looked_at) <= 5 + 2


def test_an_image_without_any_chunk_of_its_stream_is_empty():
    with pytest.raises(NdzError, match="empty"):
        ImageChecker().finish()


@pytest.mark.parametrize("total", [0, 2, 1 << 20])
def test_a_last_chunk_that_was_sealed_in_another_number_of_them_is_refused(total):
    packer = Packer(image_id=b"i" * 16)
    assert list(packer.add(Deflater().deflate(Batch((Region(0, 1),), bytes(512))))) == []
    (chunk,) = packer.finish(1)
    ImageChecker().feed(chunk)
    seal = read_seal(chunk, parse_header(chunk, 0))
    seal_chunk(chunk, replace(seal, total=total))
    with pytest.raises(DamagedChunk, match=f"chunk 0: was sealed as the last of {total} chunks"):
        ImageChecker().feed(chunk)
