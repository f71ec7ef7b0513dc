"""Btrfs with all its copies: imaged, restored onto junk, checked by its own tools."""

import contextlib
import os
import re
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.imaging.filesystems import btrfs, checksums
from rhubarbe.ndz.check import check_file

MIB = 1 << 20
SUPERBLOCK = 64 << 10


@pytest.fixture
def make(tools, tmp_path):
    """Make a btrfs with files in it, without mounting it."""
    tools.need("mkfs.btrfs", "btrfs")

    def make(*options):
        disk = tmp_path / "disk.img"
        with disk.open("wb") as file:
            file.truncate(160 * MIB)
        files = tmp_path / "files"
        if not files.exists():
            tools.files(files, count=60)
        tools.run("mkfs.btrfs", "-qfK", *options, "--rootdir", files, disk)
        return disk

    return make


def chunks_of(tools, disk):
    """The chunks as its own tool tells them: (logical start, length, [places of the copies])."""
    text = tools.run("btrfs", "inspect-internal", "dump-tree", "-t", "chunk", disk)
    for chunk in re.split(r"(?=item \d+ key)", text)[1:]:
        if start := re.search(r"CHUNK_ITEM (\d+)\)", chunk):
            length = int(re.search(r"length (\d+)", chunk)[1])
            yield int(start[1]), length, [int(at) for at in re.findall(r"offset (\d+)\n", chunk)]


def extents_of(tools, disk):
    """The extents as its own tool tells them: (logical start, length)."""
    text = tools.run("btrfs", "inspect-internal", "dump-tree", "-t", "extent", disk)
    node = int(re.search(r"nodesize\s+(\d+)", super_of(tools, disk))[1])
    for start, kind, number in re.findall(r"key \((\d+) (METADATA|EXTENT)_ITEM (\d+)\)", text):
        yield int(start), node if kind == "METADATA" else int(number)


def super_of(tools, disk):
    return tools.run("btrfs", "inspect-internal", "dump-super", disk)


MADE = [
    ("-d", "dup", "-m", "dup"),
    ("-d", "single", "-m", "dup"),
    ("-M", "-d", "dup", "-m", "dup"),
    ("-d", "dup", "-n", "65536", "--csum", "xxhash"),
    ("-n", "4096", "--csum", "sha256"),
    ("--csum", "blake2", "-R", "free-space-tree"),
]


def some(values, quick):
    """The first ones always, the others in a full run."""
    return [*values[:quick], *(pytest.param(v, marks=pytest.mark.full) for v in values[quick:])]


@pytest.mark.parametrize("options", some(MADE, quick=2), ids=" ".join)
def test_every_copy_of_every_extent_is_restored(options, make, tools, programs, tmp_path, capsys):
    disk = make(*options)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "stored raw" not in capsys.readouterr().err
    target = programs.restore_on_junk(tmp_path / "image.ndz", disk.stat().st_size)
    chunks, used = list(chunks_of(tools, disk)), 0
    with disk.open("rb") as source, target.open("rb") as restored:
        for start, length in extents_of(tools, disk):
            (chunk,) = [c for c in chunks if c[0] <= start < c[0] + c[1]]
            for copy in chunk[2]:
                used += length
                source.seek(copy + start - chunk[0])
                restored.seek(source.tell())
                assert source.read(length) == restored.read(length), (start, copy)
        for at in (SUPERBLOCK, 64 * MIB):
            source.seek(at)
            restored.seek(at)
            assert source.read(4096) == restored.read(4096)
    tools.run("btrfs", "check", "--check-data-csum", target)
    assert used > 0
    assert check_file(tmp_path / "image.ndz").data_bytes < used + 12 * MIB


def test_the_superblock_copy_at_256_gib_is_stored(tools, programs, tmp_path):
    tools.need("mkfs.btrfs", "btrfs")
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(257 << 30)
    tools.run("mkfs.btrfs", "-qfK", disk)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    disk.unlink()
    with disk.open("wb") as file:
        file.truncate(257 << 30)
    programs.unzip("--as-device", tmp_path / "image.ndz", disk)
    for copy in range(3):
        text = tools.run("btrfs", "inspect-internal", "dump-super", "-s", copy, disk)
        assert "[match]" in text


def with_superblock(disk, change):
    """Change the superblock by a function, and give it its checksum again."""
    with disk.open("r+b") as file:
        file.seek(SUPERBLOCK)
        block = bytearray(file.read(4096))
        change(block)
        block[:4] = checksums.crc32c(bytes(block[32:]))
        file.seek(SUPERBLOCK)
        file.write(block)


def put(at, value):
    """Change eight bytes."""

    def change(block):
        block[at : at + 8] = value.to_bytes(8, "little")

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(136, 2), "spreads over 2 devices"),
        (put(96, 1 << 22), "its btrfs log is yet to be replayed"),
        (put(188, 0x1341), "features not known here (0x1000)"),
        (put(180, 0x100), "features not known here (0x100)"),
        (put(56, 5), "has errors, or is being changed"),
        (put(120, 4096), "not as many as it says"),
        (put(209, 1 << 40), "needs 2147483648 sectors, the partition has 327680"),
        (put(80, 4096), "is in no chunk"),
        (put(72, 1), "is damaged"),
    ],
)
def test_what_the_extent_tree_alone_does_not_tell_is_stored_raw(
    change, words, make, programs, tmp_path, capsys
):
    disk = make()
    with_superblock(disk, change)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    error = capsys.readouterr().err
    assert words in error
    assert "btrfs, but " in error
    assert ": stored raw" in error
    assert check_file(tmp_path / "image.ndz").data_bytes == disk.stat().st_size


def test_the_second_copy_of_a_node_serves_where_the_first_is_damaged(
    make, tools, programs, tmp_path
):
    disk = make("-m", "dup")
    start = int(re.search(r"\nroot\s+(\d+)", super_of(tools, disk))[1])
    (chunk,) = [c for c in chunks_of(tools, disk) if c[0] <= start < c[0] + c[1]]
    with disk.open("r+b") as file:
        file.seek(chunk[2][0] + start - chunk[0] + 500)
        file.write(b"junk")
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert check_file(tmp_path / "image.ndz").data_bytes < 30 * MIB
    target = programs.restore_on_junk(tmp_path / "image.ndz", disk.stat().st_size)
    tools.run("btrfs", "check", target)


@pytest.fixture(scope="module")
def small(tools, tmp_path_factory):
    """The bytes of a small btrfs, and where its superblock and its nodes are."""
    tools.need("mkfs.btrfs", "btrfs")
    disk = tmp_path_factory.mktemp("small") / "disk.img"
    disk.write_bytes(bytes(110 * MIB))
    tools.run("mkfs.btrfs", "-qfK", disk)
    data = disk.read_bytes()
    identity = data[SUPERBLOCK + 32 : SUPERBLOCK + 48]
    nodes = [m.start() - 32 for m in re.finditer(re.escape(identity), data)]
    return memoryview(data), [at for at in nodes if at % 4096 == 0]


@settings(max_examples=60)
@given(data=st.data())
def test_hostile_bytes_are_an_error_and_nothing_else(small, data):
    """Bytes are altered in the superblock or a node, whose checksum is made good again."""
    disk, places = small
    at = data.draw(st.sampled_from(places))
    size = 4096 if at in (SUPERBLOCK, 64 * MIB) else 16384
    block = bytearray(disk[at : at + size])
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.one_of(st.integers(32, 1100), st.integers(32, size - 8)))
        what = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8)))
        block[where : where + len(what)] = what
    block = block[:size]
    block[:4] = checksums.crc32c(bytes(block[32:]))
    cut = data.draw(st.one_of(st.just(len(disk)), st.integers(0, len(disk))))

    def read_at(offset, count):
        part = bytearray(disk[min(offset, cut) : min(offset + count, cut)])
        first, last = max(offset, at), min(offset + len(part), at + size)
        if first < last:
            part[first - offset : last - offset] = block[first - at : last - at]
        return bytes(part)

    with contextlib.suppress(FilesystemError):
        usage = btrfs.find_usage(read_at, len(disk) // 512)
        assert all(0 <= start < end <= usage.end for start, end in usage.used)


@contextlib.contextmanager
def mounted(tools, device, point):
    """Mount where no other process sees it, so that none can hold it."""
    done = subprocess.run(["mount", device, point], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine cannot mount it: {done.stderr.strip()}")
    try:
        yield
    finally:
        tools.run("umount", point)
        _released(device)


def _released(device, within=50):
    deadline = time.monotonic() + within
    while True:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
        except OSError:
            assert time.monotonic() < deadline, f"{device} is still mounted somewhere"
            time.sleep(0.05)
        else:
            return


def scrub(tools, device, point, files):
    with mounted(tools, device, point):
        found = {p.name: p.read_bytes() for p in point.iterdir() if p.is_file()}
        assert found == files
        assert "no errors found" in tools.run("btrfs", "scrub", "start", "-B", point)


@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "options", [("-d", "dup", "-m", "dup"), ("-m", "dup"), ("-M", "-d", "dup", "-m", "dup")]
)
def test_scrub_is_content_after_balance_and_deletion(
    options, attached, tools, programs, tmp_path, capsys
):
    tools.need("mkfs.btrfs", "btrfs")
    disk, point = tools.noisy(tmp_path / "disk.img", 320 * MIB), tmp_path / "point"
    point.mkdir()
    tools.run("mkfs.btrfs", "-qfK", *options, disk)
    files = tools.files(count=200, seed=5)
    with attached(disk) as device, mounted(tools, device, point):
        for name, data in files.items():
            (point / name).write_bytes(data)
        os.sync()
        for name in list(files)[::3]:
            (point / name).unlink()
            del files[name]
        tools.run("btrfs", "-q", "subvolume", "snapshot", point, point / "snapshot")
        tools.run("btrfs", "-q", "balance", "start", "--full-balance", point)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "stored raw" not in capsys.readouterr().err
    target = programs.restore_on_junk(tmp_path / "image.ndz", disk.stat().st_size)
    tools.run("btrfs", "check", "--check-data-csum", target)
    with attached(target) as device:
        scrub(tools, device, point, files)


@pytest.mark.full
@pytest.mark.timeout(180)
def test_partitions_that_share_one_filesystem_are_stored_raw_and_said(
    attached, tools, programs, tmp_path, capsys
):
    tools.need("mkfs.btrfs", "btrfs", "sfdisk")
    disk, point, size = tmp_path / "disk.img", tmp_path / "point", 128 * MIB
    point.mkdir()
    tools.noisy(disk, 2 * size + 2 * MIB)
    script = f"label: dos\n2048,{size // 512}\n{2048 + size // 512},{size // 512}\n"
    tools.run("sfdisk", "-q", "--wipe", "never", disk, input=script)

    @contextlib.contextmanager
    def parts(path):
        limit = [512, "--sizelimit", size, "-o"]
        with attached(path, *limit, MIB) as one, attached(path, *limit, MIB + size) as two:
            yield one, two
            tools.run("btrfs", "device", "scan", "--forget", one)

    files = tools.files(count=60, seed=6)
    with parts(disk) as (one, two):
        tools.run("mkfs.btrfs", "-qfK", "-d", "raid1", "-m", "raid1", one, two)
        with mounted(tools, one, point):
            for name, data in files.items():
                (point / name).write_bytes(data)
    programs.zip(disk, tmp_path / "image.ndz")
    error = capsys.readouterr().err
    for number in (1, 2):
        assert f"P{number}: btrfs, but its btrfs filesystem spreads over 2 devices" in error
    target = programs.restore_on_junk(tmp_path / "image.ndz", disk.stat().st_size)
    with parts(target) as (one, two):
        tools.run("btrfs", "device", "scan", one, two)
        scrub(tools, one, point, files)
