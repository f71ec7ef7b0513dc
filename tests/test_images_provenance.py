"""Where an image says that it comes from: real filesystems, imaged, on disks of every form."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from rhubarbe.images import ancestors, parse_stamps, provenance
from rhubarbe.images.extfs import Unreadable, read_file
from rhubarbe.images.provenance import STAMP
from rhubarbe.imaging.imagezip import main as imagezip
from rhubarbe.ndz.mark import image_id

SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MIB = 1 << 20
LINES = """\
an emulated node - image sample - by rhubarbe-testbed
2026-03-19@10:24:05 - node fit04 - image mywork - by alice - with my - tools
Thu Mar 19 - node 7  - image ubuntu - by root
this is no stamp
2026-13-45@10:24:05 - node fit100 - image last one - by bob
"""


def test_each_line_of_a_save_is_understood_and_others_are_skipped():
    first, second, third, last = parse_stamps(LINES)
    assert (first.image, first.node, first.user) == ("sample", "", "rhubarbe-testbed")
    assert (second.image, second.node, second.user) == ("mywork", "fit04", "alice")
    assert (second.date, second.comment) == ("2026-03-19 10:24", "with my - tools")
    assert (third.image, third.node, third.date) == ("ubuntu", "7", "Thu Mar 19")
    assert (last.image, last.node, last.date) == ("last one", "fit100", "2026-13-45@10:24:05")
    assert ancestors(parse_stamps(LINES)) == ["ubuntu", "mywork", "sample"]
    assert ancestors([]) == []


def filesystem(directory, *options, size=24, many=0):
    """Make a filesystem that bears LINES, with `many` files beside them in /etc."""
    tree = directory / "tree"
    (tree / "etc").mkdir(parents=True)
    for number in range(many):
        (tree / "etc" / f"a-rather-long-name-of-a-file-{number:04}").touch()
    (tree / "etc" / "rhubarbe-image").write_text(LINES)
    path = directory / "root.img"
    with path.open("wb") as image:
        image.truncate(size * MIB)
    subprocess.run(
        ["mke2fs", "-q", "-F", *options, "-d", tree, path],
        env={**os.environ, "PATH": SBIN},
        check=True,
        capture_output=True,
    )
    return path


def image_of(disk, *options):
    image = disk.with_suffix(".ndz")
    assert imagezip([*options, str(disk), str(image)]) == 0
    return image


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
def test_a_bare_filesystem_tells(tmp_path, options, many):
    image = image_of(filesystem(tmp_path, *options, many=many), "-l")
    assert provenance(image) == parse_stamps(LINES)


@pytest.mark.parametrize("label", ["mbr", "gpt"])
def test_a_partition_of_a_disk_tells(tmp_path, label):
    root = filesystem(tmp_path, "-t", "ext4")
    disk = tmp_path / "disk.img"
    start, sectors = 4096, root.stat().st_size // 512
    with disk.open("wb") as out:
        out.truncate(32 * MIB)
        entry = struct.pack("<B3xB3xII", 0, 0x83 if label == "mbr" else 0xEE, 0, 0)
        swap = struct.pack("<B3xB3xII", 0, 0x82, 2048, 1024)
        if label == "mbr":
            entry = swap + struct.pack("<B3xB3xII", 0x80, 0x83, start, sectors)
        out.seek(446)
        out.write(entry.ljust(64, b"\0") + b"\x55\xaa")
        if label == "gpt":
            out.write(struct.pack("<8s64xQII", b"EFI PART", 2, 4, 128).ljust(512, b"\0"))
            for first, last in ((2048, 3071), (start, start + sectors - 1)):
                out.write(struct.pack("<16s16sQQ80x", b"t" * 16, b"u" * 16, first, last))
        out.seek(start * 512)
        out.write(root.read_bytes())
    assert provenance(image_of(disk, "-f")) == parse_stamps(LINES)


def test_what_does_not_tell_has_none(tmp_path):
    missing = tmp_path / "missing.ndz"
    empty = tmp_path / "empty.ndz"
    empty.touch()
    foreign = tmp_path / "foreign.ndz"
    foreign.write_bytes(b"not an image" * 100_000)
    blank = tmp_path / "blank.img"
    blank.write_bytes(bytes(4 * MIB))
    for path in (missing, empty, foreign, image_of(blank, "-f")):
        assert provenance(path) == []


class Memory(bytearray):
    """A disk in memory; beyond its end all is zeros."""

    def read(self, offset, length):
        return bytes(self[offset : offset + length]).ljust(length, b"\0")


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_a_filesystem_that_lies_is_no_traceback(tmp_path, kind):
    """Every byte of the superblock, group descriptors and inodes overwritten in turn."""
    root = filesystem(tmp_path, "-t", kind, "-b", "1024", "-N", "32", "-O", "^has_journal", size=1)
    disk = Memory(root.read_bytes())
    assert read_file(disk, 0, STAMP).decode() == LINES
    unreadable = 0
    for at in range(1024, 16 * 1024):
        disk[at] ^= 0xFF
        try:
            read_file(disk, 0, STAMP)
        except Unreadable:
            unreadable += 1
        disk[at] ^= 0xFF
    assert unreadable > 20


def test_a_tree_of_extents_without_end(tmp_path):
    root = filesystem(tmp_path, "-t", "ext4", "-b", "1024", "-O", "^has_journal", size=1)
    disk = Memory(root.read_bytes())
    inode = disk.index(b"\x0a\xf3")  # the first extents are those of the root directory
    node = struct.pack("<HHHHI", 0xF30A, 84, 84, 1, 0)
    block = len(disk) // 1024
    for depth in range(4, -1, -1):
        here = node[:6] + bytes([depth]) + node[7:]
        disk += here + struct.pack("<IIHH", 0, block + 1, 0, 0) * 84 + bytes(4)
        block += 1
    disk[inode : inode + 24] = struct.pack("<HHHHIIIHH", 0xF30A, 1, 4, 5, 0, 0, block - 5, 0, 0)
    with pytest.raises(Unreadable, match="does not end"):
        read_file(disk, 0, STAMP)


def test_the_id_of_a_seal_is_read_without_the_rest(tmp_path):
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
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["rhubarbe.ndz.mark"]
