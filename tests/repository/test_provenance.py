"""Where an image says that it comes from: real filesystems, imaged, on disks of every form."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rhubarbe.errors import ImageError
from rhubarbe.ndz.mark import image_id
from rhubarbe.repository import ancestors, parse_stamps, provenance, stamps_of
from rhubarbe.repository.inside import RootPartition
from rhubarbe.repository.sectors import Deadline

MIB = 1 << 20
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
ROOT = RootPartition(1)
LINES = """\
an emulated node - image sample - by rhubarbe-testbed
2026-03-19@10:24:05 - node fit04 - image mywork - by alice - with my - tools
Thu Mar 19 - node 7  - image ubuntu - by root
this is no stamp
2026-13-45@10:24:05 - node fit100 - image last one - by bob
"""
STAMPED = {"etc/rhubarbe-image": LINES.encode()}
UNSTAMPED = {"etc/hostname": b"node"}


def stamped(image):
    return {"etc/rhubarbe-image": f"now - image {image} - by alice\n".encode()}


def test_each_line_of_a_save_is_understood_and_others_are_skipped():
    first, second, third, last = parse_stamps(LINES)
    assert (first.image, first.node, first.user) == ("sample", "", "rhubarbe-testbed")
    assert (second.image, second.node, second.user) == ("mywork", "fit04", "alice")
    assert (second.date, second.comment) == ("2026-03-19 10:24", "with my - tools")
    assert (third.image, third.node, third.date) == ("ubuntu", "7", "Thu Mar 19")
    assert (last.image, last.node, last.date) == ("last one", "fit100", "2026-13-45@10:24:05")
    assert ancestors(parse_stamps(LINES)) == ["ubuntu", "mywork", "sample"]
    assert ancestors([]) == []


@pytest.mark.parametrize(
    "options",
    [
        ("-t", "ext2", "-b", "1024"),
        ("-t", "ext3", "-b", "4096"),
        ("-t", "ext4"),
        ("-t", "ext4", "-O", "64bit"),
        ("-t", "ext4", "-O", "^64bit,^extent", "-I", "128"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("many", [0, 600])
def test_a_bare_filesystem_tells(make_filesystem, image_of, options, many):
    names = {f"etc/a-rather-long-name-of-a-file-{number:04}": b"" for number in range(many)}
    image = image_of(make_filesystem(STAMPED | names, *options, size=24), "-l")
    assert provenance(image) == parse_stamps(LINES)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("label", ["mbr", "logical", "gpt"])
def test_a_partition_of_a_disk_tells(make_filesystem, make_disk, image_of, label, sector):
    other = make_filesystem({"a/file": b"data"}, name="other")
    disk = make_disk([None, other, make_filesystem(STAMPED)], label=label, sector=sector)
    assert provenance(image_of(disk, "-r")) == parse_stamps(LINES)


def test_of_several_partitions_with_stamps_the_root_tells(make_filesystem, make_disk, image_of):
    slots = [stamped(name) for name in ("first", "second", "third")]
    disk = make_disk([make_filesystem(slot, name=f"slot{n}") for n, slot in enumerate(slots)])
    image = image_of(disk, "-f")
    assert [provenance(image, RootPartition(number))[0].image for number in (1, 2, 3)] == [
        "first",
        "second",
        "third",
    ]
    assert provenance(image, RootPartition(None, MIB))[0].image == "first"
    assert provenance(image)[0].image == "first"
    assert provenance(image, RootPartition(4)) == []


def test_what_does_not_tell_has_none(tmp_path, image_of):
    missing = tmp_path / "missing.ndz"
    empty = tmp_path / "empty.ndz"
    empty.touch()
    foreign = tmp_path / "foreign.ndz"
    foreign.write_bytes(b"not an image" * 100_000)
    blank = tmp_path / "blank.img"
    blank.write_bytes(bytes(4 * MIB))
    for path in (missing, empty, foreign, image_of(blank, "-f")):
        assert provenance(path) == []


def test_the_id_of_a_seal_is_read_without_the_rest(tmp_path, image_of):
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(MIB))
    first = image_id(image_of(disk, "-f"))
    assert first is not None
    assert bytes.fromhex(first) in disk.with_suffix(".ndz").read_bytes()[4032:4096]
    disk.with_suffix(".ndz").write_bytes(b"short")
    assert image_id(disk.with_suffix(".ndz")) is None


def test_listing_imports_no_format():
    check = (
        "import sys, rhubarbe.cli.images\n"
        "print(*[m for m in sys.modules if m.startswith('rhubarbe.ndz.') or m == 'isal'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["rhubarbe.ndz.mark"]


def shows(image, root=ROOT):
    """What a node that runs the image must show, or why that is not known."""
    try:
        return stamps_of(image, root, Deadline())
    except ImageError as error:
        return f"? {error}".replace(str(image), "image")


@pytest.mark.parametrize("label", ["mbr", "gpt"])
def test_what_a_node_shows_is_what_its_root_holds(make_filesystem, make_disk, image_of, label):
    first, second = (make_filesystem(stamped(name), name=name) for name in ("one", "two"))
    bare = make_filesystem(UNSTAMPED, name="bare")
    data = make_filesystem({"a/file": b"data"}, name="data")
    several = "? image: several partitions have stamps, and root_partition names none of them"
    no_root = "? image: no root on an ext2, ext3 or ext4 filesystem"
    for filesystems, root, expected in (
        ([first, second], RootPartition(1), "image one"),
        ([first, second], RootPartition(2), "image two"),
        ([first, second], RootPartition(3), several),
        ([first, second], RootPartition(), several),
        ([data, second], RootPartition(1), "image two"),
        ([None, second], RootPartition(1), "image two"),
        ([bare, data], RootPartition(1), ""),
        ([data, bare], RootPartition(7), ""),
        ([data, None], RootPartition(1), ""),
        ([data, None], RootPartition(2), no_root),
        ([None], RootPartition(1), no_root),
    ):
        image = image_of(make_disk(filesystems, label=label), "-r")
        told = shows(image, root)
        assert expected in told if expected else told == "", (filesystems, root, told)


def test_a_disk_without_table_is_its_own_root(make_filesystem, image_of):
    assert "image one" in shows(image_of(make_filesystem(stamped("one")), "-r"), RootPartition(0))
    bare = make_filesystem(UNSTAMPED, name="bare")
    assert shows(image_of(bare, "-r"), RootPartition(0)) == ""


def test_what_a_node_would_repair_first_is_not_believed(make_filesystem, make_disk, image_of):
    root = make_filesystem(STAMPED)
    assert shows(image_of(make_disk([root]), "-r")) == LINES
    command = ["debugfs", "-w", "-R", "feature needs_recovery", root]
    subprocess.run(command, env={**os.environ, "PATH": SBIN}, check=True, capture_output=True)
    image = image_of(make_disk([root]), "-r")
    assert shows(image) == (
        "? image: a filesystem in it was not unmounted: its journal is not replayed here"
    )
    assert provenance(image) == parse_stamps(LINES)


def test_a_stamp_that_is_a_link_is_not_guessed(make_filesystem, make_disk, image_of):
    files = {"etc/rhubarbe-image": Path("/var/stamp"), "var/stamp": LINES.encode()}
    assert shows(image_of(make_disk([make_filesystem(files)]), "-r")).startswith("? image: ")


def test_the_search_ends_when_it_is_told_to(make_filesystem, image_of):
    deadline = Deadline()
    deadline.end()
    with pytest.raises(ImageError, match="takes too long"):
        stamps_of(image_of(make_filesystem(STAMPED), "-r"), ROOT, deadline)


@pytest.mark.parametrize(
    ("partition", "disk", "root"),
    [
        ("/dev/sda1", "/dev/sda", RootPartition(1)),
        ("/dev/sda12", "/dev/sda", RootPartition(12)),
        ("/dev/nvme0n1p2", "/dev/nvme0n1", RootPartition(2)),
        ("/dev/mmcblk0p1", "/dev/mmcblk0", RootPartition(1)),
        ("/dev/disk/by-path/pci-0-part3", "/dev/disk/by-path/pci-0", RootPartition(3)),
        ("/dev/sda", "/dev/sda", RootPartition(0)),
        ("/dev/nvme0n1", "/dev/nvme0n1", RootPartition(0)),
        ("dev/sda?offset=1048576", "dev/sda", RootPartition(None, MIB)),
        ("/dev/nvme0n1p2", "/dev/sda", RootPartition(2)),
        ("/dev/vdb3", "/dev/sda", RootPartition(3)),
        ("/dev/nvme0n1", "/dev/sda", RootPartition()),
        ("/dev/mapper/vg-root", "/dev/sda", RootPartition()),
        ("2", "serial=S64DNX0R", RootPartition(2)),
        ("none", "/dev/sda", RootPartition()),
    ],
)
def test_which_partition_a_name_means(partition, disk, root):
    assert RootPartition.of(partition, disk) == root
