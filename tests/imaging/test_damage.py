"""A damaged image is never restored with success: the program says which chunk, and exits 1."""

import contextlib
import io
import re
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rhubarbe.imaging import imageunzip, imagezip

CHUNK = 1 << 20
CHUNKS = 3
CODE = "import sys; from rhubarbe.imaging.imageunzip import main; sys.exit(main())"


class Sealed(bytes):
    """The bytes of an image, which a failed test does not print."""

    __slots__ = ()

    def __repr__(self):
        return f"an image of {len(self)} bytes"


@pytest.fixture(scope="module")
def sealed(tools, tmp_path_factory):
    """An image of three chunks, the last of them short."""
    directory = tmp_path_factory.mktemp("sealed")
    disk, image = directory / "disk.img", directory / "image.ndz"
    disk.write_bytes(tools.noise(2 * CHUNK + 300_000) + bytes(CHUNK) + b"text " * 100_000)
    assert imagezip.main(["-r", str(disk), str(image)]) == 0
    return Sealed(image.read_bytes())


@pytest.fixture(scope="module")
def restore(tmp_path_factory):
    """Restore the bytes of an image as the program does; return its exit status and lines."""
    directory = tmp_path_factory.mktemp("damaged")
    image, target = directory / "image.ndz", directory / "target.img"

    def restore(data, *options):
        image.write_bytes(data)
        target.unlink(missing_ok=True)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            status = imageunzip.main([*options, str(image), str(target)])
        return status, said.getvalue()

    return restore


def test_the_image_itself_is_restored(sealed, restore):
    status, said = restore(sealed, "--verify")
    assert len(sealed) == CHUNKS * CHUNK
    assert status == 0
    assert "Verified" in said


@settings(max_examples=40)
@given(place=st.integers(0, CHUNKS - 1), at=st.integers(0, CHUNK - 1), bit=st.integers(0, 7))
@example(place=0, at=0, bit=0)  # the version
@example(place=2, at=0, bit=0)
@example(place=0, at=3, bit=7)  # the magic
@example(place=1, at=3, bit=7)
@example(place=2, at=8, bit=1)  # the index
@example(place=1, at=17, bit=5)  # the size of the header area
@example(place=1, at=20, bit=0)  # the number of regions
@example(place=1, at=24, bit=2)  # where it begins
@example(place=2, at=4044, bit=0)  # the seal
@example(place=2, at=CHUNK - 1, bit=7)  # the padding
def test_any_flipped_bit_is_named(sealed, restore, place, at, bit):
    data = bytearray(sealed)
    data[place * CHUNK + at] ^= 1 << bit
    status, said = restore(data)
    assert status == 1
    assert re.search(rf"image.ndz: (.*bad magic.* in )?chunk {place}\b", said)
    assert len(said.splitlines()) == 1


@settings(max_examples=30)
@given(size=st.integers(0, CHUNKS * CHUNK - 1))
@example(size=0)
@example(size=1)
@example(size=CHUNK)
@example(size=2 * CHUNK)
@example(size=2 * CHUNK + 4096)
def test_any_truncation_is_named(sealed, restore, size):
    status, said = restore(sealed[:size])
    assert status == 1
    assert "image.ndz: " + (f"chunk {size // CHUNK}: " if size else "the image is empty") in said


@pytest.mark.parametrize(
    ("size", "flip", "place"),
    [
        (CHUNK - 1, None, 0),
        (CHUNK, None, 1),
        (2 * CHUNK + 9, None, 2),
        (3 * CHUNK, CHUNK + 9999, 1),
    ],
)
def test_from_a_stream_and_to_a_pipe(sealed, size, flip, place):
    data = bytearray(sealed[:size])
    if flip:
        data[flip] ^= 1
    done = subprocess.run(
        [sys.executable, "-c", CODE, "-", "-"], input=data, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert f"chunk {place}: ".encode() in done.stderr
    assert b"Decompressed" not in done.stderr


@pytest.mark.parametrize("order", [[0, 1], [0, 2], [1, 2], [1, 0], [0, 1, 1, 2], [0, 1, 2, 2]])
def test_chunks_that_are_misplaced_missing_or_repeated(sealed, restore, order):
    status, said = restore(b"".join(sealed[n * CHUNK : (n + 1) * CHUNK] for n in order))
    first_wrong = next(n for n, place in enumerate([*order, None]) if n != place)
    assert status == 1
    assert f"chunk {first_wrong}: " in said
