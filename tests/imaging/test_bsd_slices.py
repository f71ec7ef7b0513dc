"""Slices that a BSD label divides: each of their partitions is imaged by what is on it."""

import struct

import pytest
from labels import made_label
from ufs_made import SIZE, made_ufs

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


def test_without_the_tails_of_filesystems_the_other_partitions_are_there(planned, make_slice):
    free, _ = planned(make_slice(label(0)), is_bare=True, skips_tail=True)
    assert free == [(FIRST_EDGE, B - 4096), (D + FIRST_EDGE, END - 4096)]


def test_a_bare_slice_and_a_disk_that_is_one(planned, make_slice):
    """Its boot sector has a table of a partition that begins where itself is, of any size."""
    places = [tuple(at + each for each in LEFT_OUT) for at in (A, D)]
    for base in (0, START):
        assert planned(make_slice(label(base)), is_bare=True) == (places, [f"DISK b: {SWAP}"])
    assert planned(make_slice(label(0), mbr(0, 5000))) == (places, [f"DISK b: {SWAP}"])


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
