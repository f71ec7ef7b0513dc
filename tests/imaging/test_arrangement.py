"""Chunks out of order, images one after the other, bytes behind them: taken if whole, and told."""

import itertools
import subprocess
import sys
import time

import pytest
from made import chunk, security

from rhubarbe.ndz.header import HEADER_AREA

CODE = "import sys; from rhubarbe.imaging.imageunzip import main; sys.exit(main())"
SECTOR = 512
MAGIC = 0x6969696B.to_bytes(4, "little")


def three(**fields):
    """An image of three chunks, of which each has two sectors of its own."""
    return [chunk(n, ((10 * n, 1), (10 * n + 5, 1)), **fields) for n in range(3)]


CONTENT = b"".join(
    (bytes([n + 1]) * SECTOR + bytes(4 * SECTOR)) * 2 for n in range(3)
)[: 26 * SECTOR]  # fmt: skip


@pytest.fixture
def restored(programs, tmp_path, capsys):
    """Restore these bytes; return what is on the disk, and what was said."""

    def restore(data, *options, status=0, target="out.img"):
        (tmp_path / "image.ndz").write_bytes(data)
        out = tmp_path / target
        programs.unzip(*options, tmp_path / "image.ndz", out, status=status)
        return out.read_bytes() if out.exists() else None, capsys.readouterr().err

    return restore


@pytest.mark.parametrize("version", [1, 3, 4])
@pytest.mark.parametrize("order", [o for o in itertools.permutations(range(3)) if o != (0, 1, 2)])
def test_chunks_in_any_order_make_the_same_disk(restored, version, order):
    total = {"total": 3} if version == 1 else {}
    chunks = three(version=version, **total)
    content, said = restored(b"".join(chunks[n] for n in order))
    assert content == CONTENT
    assert "image.ndz: its chunks are out of order" in said


def test_sealed_chunks_in_any_order(restored, programs, tools, tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(tools.noise(2 << 20))
    programs.zip("-r", disk, tmp_path / "sealed.ndz")
    data = (tmp_path / "sealed.ndz").read_bytes()
    chunks = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]
    content, said = restored(b"".join(reversed(chunks)), "--verify")
    assert content == disk.read_bytes()
    assert "out of order" in said
    content, said = restored(b"".join(chunks[:0:-1]), status=1, target="none.img")
    assert "says that it is chunk" in said
    assert content is None


@pytest.mark.parametrize("order", [[1, 0], [1, 2], [2, 0], [0, 2], [0, 1, 1], [2, 1, 0, 0]])
def test_what_is_not_whole_is_refused_before_anything_is_written(restored, order):
    chunks = three(version=1, total=3)
    content, said = restored(b"".join(chunks[n] for n in order), status=1)
    assert content is None
    assert "image.ndz: " in said
    assert len(said.splitlines()) == 1


def test_a_disk_is_no_image_and_is_told_so(restored):
    content, said = restored(b"\xfa\x31" * (35 << 20), status=1)
    assert content is None
    assert "not an ndz image" in said


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 1, 2)])
@pytest.mark.parametrize("damaged", range(3))
def test_what_does_not_inflate_is_refused_before_anything_is_written(
    restored, tools, tmp_path, order, damaged
):
    tools.junk(tmp_path / "disk.img", 32 * SECTOR)
    chunks = three()
    spoiled = bytearray(chunks[damaged])
    spoiled[HEADER_AREA : HEADER_AREA + 8] = b"no zlib!"
    chunks[damaged] = bytes(spoiled)
    data = b"".join(chunks[n] for n in order) + b"behind"
    content, said = restored(data, "--as-device", target="disk.img", status=1)
    assert content == b"\xaa" * 32 * SECTOR
    assert f"image.ndz: chunk {damaged}: " in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("rest", [b"\0", bytes(4096), b"x" * ((1 << 20) - 1), MAGIC[:2] + b"\0\0"])
def test_bytes_after_the_last_chunk_are_left_out(restored, rest):
    content, said = restored(b"".join(three()) + rest)
    assert content == CONTENT
    assert f"image.ndz: {len(rest)} bytes follow the last chunk, and are left out" in said


@pytest.mark.parametrize("rest", [MAGIC[:1], MAGIC, MAGIC + bytes(9000)])
def test_what_may_be_a_chunk_cut_short_is_refused(restored, rest):
    content, said = restored(b"".join(three()) + rest, status=1)
    assert content is None
    assert f"chunk 3: cut short, {len(rest)} bytes of 1048576" in said


def test_a_large_disk_that_is_no_image_is_refused_at_its_first_byte(programs, tmp_path, capsys):
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(1 << 40)
        started = time.monotonic()
        programs.unzip(disk, tmp_path / "out.img", status=1)
        file.write(b"".join(three()))
        file.flush()
        programs.unzip(disk, tmp_path / "out.img", status=1)
    assert time.monotonic() - started < 5
    assert capsys.readouterr().err == (
        f"imageunzip: {disk}: not an ndz image: bad magic 0x00000000 in chunk 0\n"
        f"imageunzip: {disk}: chunk 3: bad magic 0x00000000\n"
    )


def test_bytes_after_an_image_that_lacks_chunks_are_no_excuse(restored):
    content, said = restored(b"".join(three(version=1, total=4)) + b"junk", status=1)
    assert content is None
    assert "chunk 3: cut short" in said


def test_a_stream_ends_with_its_last_chunk(tmp_path):
    line = [sys.executable, "-c", CODE, "-", "-"]
    done = subprocess.run(line, input=b"".join(three()) + b"end", capture_output=True, check=True)
    assert done.stdout == CONTENT
    assert b"standard input: 3 bytes follow the last chunk" in done.stderr


APART = chunk(0, ((0, 2),), (0, 8)), chunk(0, ((8, 1), (12, 1)), (8, 20), fill=9)
MIXED = chunk(0, ((0, 2), (12, 1)), (0, 20)), chunk(0, ((4, 1),), (0, 20), fill=9)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("uuids", [(b"a" * 16, b"a" * 16), (b"a" * 16, b"b" * 16)])
def test_images_one_after_the_other(restored, flip, uuids):
    first, second = (
        [chunk(0, ((0, 1),), (0, 4), version=4, security=security(uuid=uuids[0])),
         chunk(1, ((4, 1),), (4, 8), version=4, security=security(uuid=uuids[0]))],
        [chunk(0, ((8, 1),), (8, 9), version=4, security=security(uuid=uuids[1]), fill=9)],
    )  # fmt: skip
    content, said = restored(b"".join(second + first if flip else first + second), "--verify")
    assert content == b"".join(
        bytes([n]) * SECTOR + bytes(3 * SECTOR) for n in (1, 2)
    ) + b"\t" * SECTOR  # fmt: skip
    assert "image.ndz: 2 images one after the other, taken as one" in said


@pytest.mark.parametrize("images", [APART, MIXED])
def test_images_go_onto_a_disk_whose_rest_stays(restored, tools, tmp_path, images):
    tools.junk(tmp_path / "disk.img", 32 * SECTOR)
    content, _ = restored(b"".join(images), "--as-device", target="disk.img")
    sectors = [content[at] for at in range(0, len(content), SECTOR)]
    wanted = [0xAA] * 32
    for image, byte in zip(images, (1, 9), strict=True):
        for at in range(32):
            if any(start <= at < start + size for start, size in REGIONS[image]):
                wanted[at] = byte
    assert sectors == wanted


REGIONS = {
    APART[0]: ((0, 2),),
    APART[1]: ((8, 1), (12, 1)),
    MIXED[0]: ((0, 2), (12, 1)),
    MIXED[1]: ((4, 1),),
}


@pytest.mark.parametrize("image", ["apart", "mixed"])
def test_free_space_of_one_image_is_not_made_zero_where_another_has_data(
    restored, tools, tmp_path, image
):
    disk, data = tools.junk(tmp_path / "disk.img", 32 * SECTOR), b"".join(
        APART if image == "apart" else MIXED
    )  # fmt: skip
    content, said = restored(data, "--as-device", "-z", target="disk.img",
                             status=int(image == "mixed"))  # fmt: skip
    if image == "mixed":
        assert content == b"\xaa" * 32 * SECTOR
        assert "nothing was written" in said
    else:
        assert content.count(0xAA) == 0
    assert disk.stat().st_size == 32 * SECTOR


@pytest.mark.parametrize("which", [(0, 0), (0, 1)])
def test_images_with_the_same_sector_are_refused(restored, which):
    images = chunk(0, ((0, 4),)), chunk(0, ((3, 4),))
    content, said = restored(b"".join(images[n] for n in which), status=1)
    assert content is None
    assert said.count("\n") == 1
    assert f"and sector {3 * which[1]} is in more than one of them" in said


def test_the_check_says_what_is_odd_and_names_each_image(programs, tmp_path, capsys):
    path = tmp_path / "image.ndz"
    path.write_bytes(b"".join(reversed(three())) + b"end")
    programs.dump("--check", path)
    said = capsys.readouterr()
    assert said.out.startswith(f"{path}: good: 3145728 bytes, 3 chunks, not sealed, 3072 bytes")
    assert "out of order" in said.err
    assert "3 bytes follow" in said.err
    path.write_bytes(b"".join(MIXED))
    programs.dump("--check", path)
    assert "image.ndz (image 2 of 2): good: 1048576 bytes" in capsys.readouterr().out
    programs.dump("--manifest", tmp_path / "made", path, status=1)
    assert "chunk 1: says that it is chunk 0" in capsys.readouterr().err


def test_a_manifest_is_of_nothing_but_chunks(programs, tmp_path):
    (tmp_path / "image.ndz").write_bytes(b"".join(three()) + b"end")
    with (tmp_path / "image.ndz").open("rb") as image:
        line = [sys.executable, "-c", CODE.replace("imageunzip", "imagedump")]
        done = subprocess.run(
            [*line, "--manifest", tmp_path / "made", "-"], stdin=image, check=False
        )
    assert done.returncode == 1
    assert not (tmp_path / "made").exists()
