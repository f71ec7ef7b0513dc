"""The BSD disklabel: as util-linux's fdisk writes it, counted from the disk or from the slice."""

import random
import re
import shutil
import struct
import subprocess

import pytest
from labels import made_label

from rhubarbe.disk.bsdlabel import read_label
from rhubarbe.disk.errors import PartitionError


def read(slice_bytes):
    return read_label(lambda at, count: slice_bytes[at : at + count])


def of(*entries, **options):
    """Read a label of these (first sector, number of sectors)."""
    return read(bytes(512) + made_label(*entries, **options))


def test_as_fdisk_writes_it(tmp_path):
    if missing := [each for each in ("fdisk", "sfdisk", "partx") if not shutil.which(each)]:
        pytest.skip(f"needs {', '.join(missing)}, which is not installed")
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    script = "label: dos\n2048,100000,a5\n"
    subprocess.run(["sfdisk", "-q", disk], input=script, text=True, check=True)
    parts = "n\na\n2048\n22527\nn\nb\n22528\n32767\nn\ne\n32768\n102047\n"
    answers = f"b\nY\nd\nd\n{parts}t\na\n7\nt\nb\n1\nt\ne\n7\nw\nr\nw\n"
    done = subprocess.run(
        ["fdisk", disk], input=answers, text=True, capture_output=True, check=True
    )
    assert "Disklabel written" in done.stdout
    data = disk.read_bytes()[2048 * 512 :]
    label = read(data)
    assert label.base(2048, 100000) == 2048
    found = label.inside(2048, 100000)
    assert found == [("a", (0, 20480)), ("b", (20480, 30720)), ("e", (30720, 100000))]
    listed = subprocess.run(["partx", "-s", disk], capture_output=True, text=True, check=True)
    nested = re.findall(r"^ *([5-9]) +(\d+) +(\d+)", listed.stdout, re.M)
    assert [(int(a), int(b) + 1) for _, a, b in nested] == [
        (2048 + low, 2048 + high) for _, (low, high) in found
    ]


@pytest.mark.parametrize(
    ("entries", "base"),
    [
        ([(63, 50), (113, 50), (63, 100)], 63),  # from the start of the disk
        ([(0, 50), (50, 50), (0, 100)], 0),  # from that of the slice
        ([(63, 50), (113, 50), (0, 5000)], 63),  # OpenBSD: `c` is the disk
        ([(63, 50), (113, 50), (63, 100), (0, 5000)], 63),  # NetBSD: `d` is
        ([(63, 50), (113, 50)], 63),
        ([(63, 50), (113, 50), (0, 0)], 63),
    ],
)
def test_from_where_it_counts(entries, base):
    label = of(*entries)
    assert label.base(63, 100) == base
    assert label.inside(63, 100) == [("a", (0, 50)), ("b", (50, 100))]


def test_what_lies_in_other_slices_is_not_told():
    entries = [(63, 50), (0, 0), (0, 5000), *[(0, 0)] * 5, (1000, 500), (0, 63)]
    assert of(*entries).inside(63, 100) == [("a", (0, 50))]


@pytest.mark.parametrize("entry", [(160, 4), (62, 4), (62, 500)])
def test_what_is_partly_outside_is_an_error(entry):
    with pytest.raises(PartitionError, match="BSD partition b is not inside of it"):
        of((63, 50), entry, (63, 100)).inside(63, 100)


def test_partitions_that_overlap_are_an_error():
    with pytest.raises(PartitionError, match="BSD partitions b and a overlap"):
        of((70, 50), (63, 8), (63, 100)).inside(63, 100)


def test_on_a_disk_with_larger_sectors():
    label = read(bytes(4096) + made_label((8, 4), (12, 4), (8, 8), sector_bytes=4096))
    assert (label.first, label.base(64, 64)) == (8, 64)
    assert label.inside(64, 64) == [("a", (0, 32)), ("b", (32, 64))]


@pytest.mark.parametrize("at", [132, 136, 138, 40, 150, 160])
def test_a_label_that_is_damaged_is_an_error(at):
    data = bytearray(bytes(512) + made_label((0, 50), (50, 50), (0, 100)))
    data[512 + at] ^= 0x40
    with pytest.raises(PartitionError, match="label is damaged"):
        read(bytes(data))
    data[512] ^= 1
    assert read(bytes(data)) is None
    assert read(bytes(data[:600])) is None


def test_any_bytes_are_a_label_that_makes_sense_or_an_error():
    for seed in range(2000):
        chance = random.Random(seed)
        data = bytearray(bytes(512) + made_label((0, 50), (50, 50), (0, 100)))
        struct.pack_into("<I", data, 512 + 148 + 4 * chance.randrange(12), chance.getrandbits(32))
        data[512 + 136 : 512 + 138] = bytes(2)
        total = 0
        for (word,) in struct.iter_unpack("<H", data[512 : 512 + 148 + 48]):
            total ^= word
        struct.pack_into("<H", data, 512 + 136, total)
        try:
            found = read(bytes(data)).inside(63, 100)
        except PartitionError:
            continue
        assert all(0 <= low < high <= 100 for _, (low, high) in found)
