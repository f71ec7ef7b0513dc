"""Slices that a BSD label divides: each of their partitions is imaged by what is on it."""

import functools
import operator
import struct

import pytest
from labels import made_label
from ufs_made import SIZE, made_ufs

from rhubarbe.disk.errors import PartitionError
from rhubarbe.imaging.bsd_slices import movable_label
from rhubarbe.imaging.layout import FIRST_EDGE, PartitionChoice, plan
from rhubarbe.imaging.source import Source

START = 2048
A, B, D, END = 0, 16000, 20000, 40000
"""Where the partitions begin in the slice, and where it ends: two filesystems, and swap."""

UFS = 2 * SIZE
FREE = [[(104, 2048)], [(80, 1999)], [(64, 904)]]
LEFT_OUT = (FIRST_EDGE, UFS)
"""Of such a filesystem, since its start is stored whatever is on it: all of its last free run."""


def mbr(start, size):
    entry = struct.pack("<B3sB3sII", 0x80, bytes(3), 0xA5, bytes(3), start, size)
    return bytes(446) + entry.rjust(64, b"\0") + b"\x55\xaa"


def label(base):
    parts = (base + A, B - A), (base + B, D - B), (base, END), (base + D, END - D)
    return made_label(*parts)


@pytest.fixture(scope="module")
def make_slice(tools):
    noise = tools.noise(END * 512)

    def make_slice(sector_1, boot=bytes(512)):
        """Return the bytes of a slice: noise wherever no filesystem is."""
        data = bytearray(noise)
        for at, version in ((A, 2), (D, 1)):
            data[at * 512 : (at + UFS) * 512] = made_ufs(FREE, version=version)
        data[: 512 + len(sector_1)] = boot + sector_1
        return bytes(data)

    return make_slice


@pytest.fixture
def planned(tmp_path):
    """Plan the image of these bytes; return what is left out between what is stored, and said."""

    def planned(data, **choice):
        disk = tmp_path / "disk.img"
        disk.write_bytes(data)
        with Source(str(disk)) as source:
            layout = plan(source, PartitionChoice(**choice))
        free = [(a, b) for (_, a), (b, _) in zip(layout.ranges, layout.ranges[1:], strict=False)]
        said = [each.replace(str(disk), "DISK") for each in layout.remarks if "unused" not in each]
        assert (layout.ranges[0][0], layout.ranges[-1][1]) == (0, layout.end)
        return free, said

    return planned


SWAP = "of no known kind: stored raw"


@pytest.mark.parametrize("base", [0, START])
def test_what_is_free_in_each_partition_is_left_out(planned, make_slice, base):
    disk = mbr(START, END).ljust(START * 512, b"\0") + make_slice(label(base))
    places = [tuple(at + each for each in LEFT_OUT) for at in (START + A, START + D)]
    assert planned(disk) == (places, [f"P4 b: {SWAP}"])
    inside = [tuple(each - START for each in place) for place in places]
    assert planned(disk, slice_number=4) == (inside, [f"P4 b: {SWAP}"])
    assert planned(disk, raw=frozenset({4})) == ([], ["P4: forcing raw compression."])


def test_what_is_between_and_behind_its_partitions_is_stored(planned, tools):
    parts = (300, B), (0, 0), (0, END), (D + 500, 15000)
    data = bytearray(tools.noise(END * 512))
    for at, version in ((300, 2), (D + 500, 1)):
        data[at * 512 : (at + UFS) * 512] = made_ufs(FREE, version=version)
    data[512:1024] = made_label(*parts)
    places = [tuple(at + each for each in LEFT_OUT) for at in (300, D + 500)]
    assert planned(bytes(data), is_bare=True, skips_tail=True)[0] == [
        (places[0][0], 300 + B - 4096),
        (places[1][0], D + 500 + 15000 - 4096),
    ]
    assert planned(bytes(data), is_bare=True) == (places, [])


def test_without_the_tails_of_filesystems_the_other_partitions_are_there(planned, make_slice):
    free, _ = planned(make_slice(label(0)), is_bare=True, skips_tail=True)
    assert free == [(FIRST_EDGE, B - 4096), (D + FIRST_EDGE, END - 4096)]


def test_a_bare_slice_and_a_disk_that_is_one(planned, make_slice):
    """Its boot sector has a table of a partition that begins where itself is, of any size."""
    places = [tuple(at + each for each in LEFT_OUT) for at in (A, D)]
    for base in (0, START):
        assert planned(make_slice(label(base)), is_bare=True) == (places, [f"DISK b: {SWAP}"])
    disk = make_slice(label(0), mbr(0, 5000))
    assert planned(disk) == (places, [f"DISK b: {SWAP}"])
    for choice in ({"slice_number": 4}, {"raw": frozenset({4})}, {"ignored": frozenset({4})}):
        with pytest.raises(PartitionError, match="is one BSD slice, without a partition table; wi"):
            planned(disk, **choice)


def test_a_label_that_makes_no_sense_makes_all_of_it_stored(planned, make_slice):
    outside = made_label((START, B), (START + B, END), (START, END))
    disk = mbr(START, END).ljust(START * 512, b"\0")
    words = "P4: its BSD partition b is not inside of it: stored raw"
    assert planned(disk + make_slice(outside)) == ([], [words])
    damaged = outside[:140] + b"x" + outside[141:]
    words = "P4: its BSD label is damaged: stored raw"
    assert planned(disk + make_slice(damaged)) == ([], [words])


def test_a_label_under_another_filesystem_is_left_over(planned, tools, tmp_path):
    tools.need("mke2fs")
    part = tools.noisy(tmp_path / "part.img", END * 512)
    tools.run("mke2fs", "-qF", "-t", "ext4", "-E", "nodiscard", part, f"{END // 2}k")
    data = part.read_bytes()
    free, said = planned(data[:512] + label(0) + data[1024:], is_bare=True)
    assert said == []
    assert free[0][0] == FIRST_EDGE


def partitions_of(slice_bytes):
    """First sector and size of each partition of a label whose checksum is right."""
    (count,) = struct.unpack_from("<H", slice_bytes, 512 + 138)
    words = struct.unpack_from(f"<{74 + 8 * count}H", slice_bytes, 512)
    assert functools.reduce(operator.xor, words) == 0
    found = [struct.unpack_from("<II", slice_bytes, 512 + 148 + 16 * n) for n in range(count)]
    return [(first, size) for size, first in found]


def relocations_of(tools, image):
    return [list(header.relocations) for header in tools.headers(image)]


@pytest.fixture
def make_disks(tools, tmp_path):
    """Make a disk with a slice of these bytes, and one with a slice elsewhere, by sfdisk."""

    def make_disks(data, elsewhere, sectors=END):
        tools.need("sfdisk")
        disks = tmp_path / "source.img", tmp_path / "target.img"
        for disk, start, size in zip(disks, (START, elsewhere), (END, sectors), strict=True):
            tools.junk(disk, 30 << 20)
            script = f"label: dos\n{start},{size},a5\n"
            tools.run("sfdisk", "-q", "--wipe", "never", disk, input=script)
        with disks[0].open("r+b") as file:
            file.seek(START * 512)
            file.write(data)
        return disks

    return make_disks


def test_a_label_is_true_where_its_slice_is_restored(
    make_disks, make_slice, programs, tools, tmp_path
):
    source, target = make_disks(make_slice(label(START)), 4097, END + 100)
    image = tmp_path / "image.ndz"
    programs.zip("-s1", source, image)
    kept = [[] for _ in tools.headers(image)[1:]]
    assert relocations_of(tools, image) == [[(1, 1, 0, 276)], *kept]
    programs.unzip(image, tmp_path / "file")  # a file is no slice
    assert (tmp_path / "file").read_bytes()[512:1024] == label(0)
    programs.unzip("-s1", "--verify", image, target)
    data = target.read_bytes()[4097 * 512 :]
    expected = [(4097 + A, B - A), (4097 + B, D - B), (4097, END + 100), (4097 + D, END - D)]
    assert partitions_of(data) == expected
    filesystem = [data[at * 512 + 65536 :][:1376] for at in (A, START)]
    assert filesystem[0] == make_slice(label(START))[65536:][:1376]
    programs.unzip("-s1", image, source)
    assert source.read_bytes()[START * 512 + 512 :][:512] == label(START)


def test_other_readers_find_its_partitions_where_it_is_restored(
    make_disks, programs, tools, tmp_path, make_slice
):
    """The label as fdisk writes it, the partitions as libblkid finds them in it."""
    tools.need("fdisk", "partx")
    source, target = make_disks(make_slice(bytes(512)), 6144)
    parts = f"n\na\n{START}\n+15999\nn\nb\n{START + 16000}\n+23999\n"
    answers = f"b\nY\nd\nd\n{parts}t\na\n7\nt\nb\n7\nw\nr\nw\n"
    tools.run("fdisk", "--wipe", "never", source, input=answers)
    programs.zip("-s1", source, tmp_path / "image.ndz")
    programs.unzip("-s1", tmp_path / "image.ndz", target)
    columns = ["partx", "-g", "-o", "NR,START,SECTORS"]
    rows = [
        [tuple(map(int, line.split())) for line in tools.run(*columns, disk).splitlines()]
        for disk in (source, target)
    ]
    assert rows[0] == [(1, START, END), (5, START, 16000), (6, START + 16000, 24000)]
    assert rows[1] == [(number, start - START + 6144, size) for number, start, size in rows[0]]


def test_of_openbsd_the_disk_and_other_slices_stay_as_they_are(
    make_disks, make_slice, programs, tools, tmp_path
):
    parts = [(START, B), (START + B, END - B), (0, 60000), *[(0, 0)] * 5, (START + 50000, 9)]
    source, target = make_disks(make_slice(made_label(*parts)), 4096)
    programs.zip("-s1", source, tmp_path / "image.ndz")
    found = relocations_of(tools, tmp_path / "image.ndz")
    assert found[0] == [(2, 1, 0, 148 + 16 * 9)]
    programs.unzip("-s1", tmp_path / "image.ndz", target)
    moved = [(4096, B), (4096 + B, END - B), *parts[2:]]
    assert partitions_of(target.read_bytes()[4096 * 512 :]) == moved


@pytest.mark.parametrize(
    ("sector_1", "words"),
    [
        (label(0), ""),  # true anywhere
        (bytes(512), ""),
        (label(START)[:140] + b"x" + label(START)[141:], "its BSD label is damaged: stored raw"),
        (made_label((START, 9), (0, 0), (START, END), (0, 60000)),  # `d` is NetBSD's disk
         f"its BSD label is stored as it is, true only where the slice begins at {START}"),
        (made_label((99, 9), (0, 0), (99, END)),  # it was restored without relocations
         f"its BSD label is stored as it is, true only where the slice begins at {START}"),
    ],
)  # fmt: skip
def test_another_label_stays_as_it_is(  # noqa: PLR0917
    make_disks, make_slice, programs, tools, tmp_path, capsys, sector_1, words
):
    source, _ = make_disks(make_slice(sector_1), 4096)
    image = tmp_path / "image.ndz"
    programs.zip("-s1", source, image)
    assert not any(relocations_of(tools, image))
    assert words in capsys.readouterr().err
    programs.unzip(image, tmp_path / "file")
    assert (tmp_path / "file").read_bytes()[512:1024] == sector_1


def test_a_label_of_a_disk_with_larger_sectors_stays_as_it_is():
    """What a relocation adds is counted in sectors of 512 bytes."""
    data = bytes(4096) + made_label((8, 4), (12, 4), (8, 8), sector_bytes=4096)
    found = movable_label(lambda at, count: data[at : at + count], 64, 64)
    assert (found.patches, found.relocations) == ({}, ())
    assert found.remark.endswith("true only where the slice begins at 64")


def test_without_relocations_the_label_stays_as_it_is(
    make_disks, make_slice, programs, tools, tmp_path, capsys
):
    source, _ = make_disks(make_slice(label(START)), 4096)
    image = tmp_path / "image.ndz"
    programs.zip("-s1", "-1", source, image, status=1)
    assert "version 1 cannot say; with -N as well" in capsys.readouterr().err
    assert not image.exists()
    for options in (["-1"], []):
        programs.zip("-s1", "-N", *options, source, image)
        assert not any(relocations_of(tools, image))
        programs.unzip(image, tmp_path / "file")
        assert (tmp_path / "file").read_bytes()[512:1024] == label(START)
