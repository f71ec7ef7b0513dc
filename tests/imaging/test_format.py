"""What the format asks of a reader and no golden image of the repository shows: made by hand."""

import random
import zlib

import pytest

from rhubarbe.imaging.restore import Restorer
from rhubarbe.imaging.target import Target
from rhubarbe.ndz.check import check_file
from rhubarbe.ndz.header import ChunkHeader, Region, Relocation, Security

SIZE = 1 << 20
JUNK = b"\xaa" * 512
UUID = bytes(range(16))


def stream(data, *, level=4, piece=1 << 17, window=15):
    """Deflate as the original does: a sync flush after each piece."""
    packer = zlib.compressobj(level, zlib.DEFLATED, window, 8)
    parts = []
    for at in range(0, len(data), piece):
        parts += packer.compress(data[at : at + piece]), packer.flush(zlib.Z_SYNC_FLUSH)
    return b"".join(parts) + packer.flush()


def chunk(index, regions, data, *, version=3, covers=(0, 0), compressed=None, **fields):
    compressed = stream(data) if compressed is None else compressed
    if version == 4:
        fields.setdefault("security", Security(image_id=UUID))
    header = ChunkHeader(
        version=version, size=len(compressed), index=index, first=covers[0], last=covers[1],
        regions=tuple(Region(*region) for region in regions), **fields,
    )  # fmt: skip
    return (header.pack() + compressed).ljust(SIZE, b"\0")


def noise(sectors, seed=0):
    return random.Random(seed).randbytes(512 * sectors)


FIRST, SECOND = noise(7, 1), noise(9, 2)


def two_chunks(version, **fields):
    """An image of 64 sectors: data at 4, 10 and 30, the last region cut by the chunks."""
    return [
        chunk(0, [(4, 2), (10, 5)], FIRST, version=version, covers=(0, 15), **fields),
        chunk(1, [(15, 1), (30, 8)], SECOND, version=version, covers=(15, 64), **fields),
    ]


def expected(background):
    disk = bytearray(background * 64)
    disk[4 * 512 : 6 * 512] = FIRST[:1024]
    disk[10 * 512 : 15 * 512] = FIRST[1024:]
    disk[15 * 512 : 16 * 512] = SECOND[:512]
    disk[30 * 512 : 38 * 512] = SECOND[512:]
    return bytes(disk)


@pytest.fixture
def restore(programs, tools, tmp_path):
    """Restore chunks onto a disk of 64 sectors of junk; return what it then holds."""

    def restore(chunks, *options, sectors=64):
        image, target = tmp_path / "image.ndz", tmp_path / "disk.img"
        image.write_bytes(b"".join(chunks))
        tools.junk(target, 512 * sectors)
        programs.unzip("--as-device", *options, image, target)
        return target.read_bytes()

    return restore


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_each_version_says_the_same(restore, version):
    assert restore(two_chunks(version), "--verify") == expected(JUNK)
    assert restore(two_chunks(version), "-z") == expected(bytes(512))


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_file_of_each_version_ends_with_the_data(programs, tmp_path, version):
    image, out = tmp_path / "image.ndz", tmp_path / "out.img"
    image.write_bytes(b"".join(two_chunks(version)))
    programs.unzip(image, out)
    assert out.read_bytes() == expected(bytes(512))[: 38 * 512]
    programs.unzip("-z", image, out)
    reach = 38 if version == 1 else 64  # version 1 does not say how far it covers
    assert out.read_bytes() == expected(bytes(512))[: reach * 512]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_chunks_depend_on_no_other(tools, tmp_path, order):
    chunks, path = two_chunks(3), tools.junk(tmp_path / "disk.img", 64 * 512)
    with Target.open(str(path), keep_size=True) as target:
        restorer = Restorer(target)
        for place in order:
            restorer.submit(place, chunks[place])
        restorer.finish()
    assert path.read_bytes() == expected(JUNK)


@pytest.mark.parametrize(
    "how", [{"level": n} for n in range(10)] + [{"piece": 512}, {"piece": 1 << 20}, {"window": 9}]
)
def test_any_zlib_stream_is_read(restore, how):
    data = noise(20) + b"the same again and again " * 512
    whole = chunk(0, [(0, len(data) // 512)], data, covers=(0, 64), compressed=stream(data, **how))
    assert restore([whole]) == data + JUNK * (64 - len(data) // 512)


@pytest.mark.parametrize(("version", "count"), [(3, 469), (4, 469), (3, 507), (1, 509)])
def test_as_many_regions_as_the_header_area_holds(restore, version, count):
    regions, data = [(2 * n, 1) for n in range(count)], noise(count)
    disk = restore([chunk(0, regions, data, version=version, covers=(0, 1100))], sectors=1100)
    assert b"".join(disk[2 * n * 512 : (2 * n + 1) * 512] for n in range(count)) == data
    assert all(disk[(2 * n + 1) * 512 : (2 * n + 2) * 512] == JUNK for n in range(count))


def test_a_chunk_without_regions_only_covers(restore):
    chunks = [chunk(0, [], b"", covers=(0, 20)), chunk(1, [(20, 1)], JUNK, covers=(20, 64))]
    assert restore(chunks, "-z") == bytes(20 * 512) + JUNK + bytes(43 * 512)


def test_version_1_counts_its_chunks(programs, tmp_path, capsys):
    image = tmp_path / "image.ndz"
    image.write_bytes(b"".join(two_chunks(1, total=2)))
    assert check_file(image).chunks == 2
    image.write_bytes(b"".join(two_chunks(1, total=3)))
    programs.dump("--check", image, status=1)
    assert "chunk 2: missing, 3 chunks were made" in capsys.readouterr().err
    programs.unzip(image, tmp_path / "out.img", status=1)
    assert "chunk 2: missing" in capsys.readouterr().err


def test_all_chunks_have_one_uuid(programs, tmp_path, capsys):
    image = tmp_path / "image.ndz"
    other = two_chunks(4, security=Security(image_id=UUID[::-1]))
    image.write_bytes(two_chunks(4)[0] + other[1])
    programs.dump("--check", image, status=1)
    assert "chunk 1: belongs to another image (its UUID differs)" in capsys.readouterr().err
    programs.unzip(image, tmp_path / "out.img", status=1)
    assert "belongs to another image (its UUID differs)" in capsys.readouterr().err


def test_the_uuid_that_is_asked_for(programs, tmp_path, capsys):
    image, out = tmp_path / "image.ndz", tmp_path / "out.img"
    image.write_bytes(b"".join(two_chunks(4)))
    programs.unzip("-u", UUID.hex().upper(), image, out)
    assert out.read_bytes() == expected(bytes(512))[: 38 * 512]
    out.write_bytes(JUNK * 64)
    capsys.readouterr()
    programs.unzip("-u", UUID[::-1].hex(), "--as-device", image, out, status=1)
    assert f"image {UUID.hex()}" in capsys.readouterr().err
    assert out.read_bytes() == JUNK * 64


def test_an_encrypted_image_is_refused_before_anything_is_written(programs, tmp_path, capsys):
    image, out = tmp_path / "image.ndz", tmp_path / "out.img"
    image.write_bytes(b"".join(two_chunks(4, security=Security(cipher=1, image_id=UUID))))
    programs.unzip(image, out, status=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"imageunzip: {image}: encrypted with an obsolete cipher (Blowfish)")
    assert not out.exists()


def test_without_a_slice_nothing_is_relocated(restore):
    label = Relocation(1, 10, 0, 276)
    assert restore(two_chunks(3, relocations=(label,))) == expected(JUNK)


@pytest.mark.parametrize("kind", [0, 7, 100, 101, 102, 4_000_000_000])
def test_relocations_that_mean_nothing_are_passed_over(restore, kind):
    relocations = (Relocation(kind, 4, 0, 8),)
    assert restore(two_chunks(3, relocations=relocations)) == expected(JUNK)


@pytest.mark.parametrize("options", [[], ["-f"], ["--verify"], ["-z"], ["-n"]])
def test_a_file_whose_last_sector_is_short(programs, tmp_path, options):
    data = noise(11)[:-500]
    whole = chunk(
        0, [(0, 11)], data + bytes(500), covers=(0, 11), relocations=(Relocation(6, 10, 0, 12),)
    )
    (tmp_path / "image.ndz").write_bytes(whole)
    programs.unzip(*options, tmp_path / "image.ndz", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


def test_the_last_sector_of_a_longer_disk_keeps_its_rest(restore):
    data = noise(11)[:-500]
    last = Relocation(6, 10, 0, 12)
    whole = chunk(0, [(0, 11)], data + bytes(500), covers=(0, 11), relocations=(last,))
    assert restore([whole]) == data + JUNK[:500] + JUNK * 53


def test_dots_for_gigabytes(programs, tmp_path, capsys):
    covered = 4_100_000_000 // 512
    image = tmp_path / "image.ndz"
    image.write_bytes(chunk(0, [(0, 7)], FIRST, covers=(0, covered)))
    programs.unzip("-O", image, tmp_path / "out.img")
    assert capsys.readouterr().err == "...." + " " * 63 + "   0      0\n"


def test_the_map_of_an_image(programs, tmp_path, capsys):
    image = tmp_path / "image.ndz"
    image.write_bytes(b"".join(two_chunks(3)))
    programs.dump("-m", image)
    lines = [line for line in capsys.readouterr().out.splitlines() if line[1:3] == ": "]
    assert lines == [
        "F: [00000000-00000003]",
        "A: [00000004-00000005]",
        "F: [00000006-00000009]",
        "A: [0000000a-0000000e]",
        "A: [0000000f-0000000f]",
        "F: [00000010-0000001d]",
        "A: [0000001e-00000025]",
        "F: [00000026-0000003f]",
    ]
