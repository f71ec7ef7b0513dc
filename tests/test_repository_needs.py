"""What an image needs of a disk, read from tables that sfdisk has made."""

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from gpts import gpt

from rhubarbe.disks import NodeDisk
from rhubarbe.errors import ImageError
from rhubarbe.ndz.check import check_file
from rhubarbe.ndz.mark import SEAL_AT
from rhubarbe.repository.needs import read_needs

MIB = 1 << 20
BIN = Path(sys.executable).parent
TABLES = {
    "mbr": ("label: dos\n2048,8M,83\n,6M,82\n", 15 * MIB, 0),
    "four": ("label: dos\n2048,1M\n,1M\n,1M\n,5M\n", 9 * MIB, 0),
    "logical": ("label: dos\n2048,2M\n,20M,5\n,4M\n,7M\n", 34 * MIB, 0),
    "nothing in it": ("label: dos\n2048,2M\n,20M,5\n", 23 * MIB, 0),
    "gpt": ("label: gpt\n2048,8M\n,10M\n", 19 * MIB, 33 * 512),
    "many": ("label: gpt\ntable-length: 256\n2048,8M\n", 9 * MIB, 65 * 512),
}


@pytest.fixture
def needs(tmp_path):
    def read(disk):
        image = tmp_path / "image.ndz"
        subprocess.run(
            [BIN / "rhubarbe-imagezip", "-r", disk, image], check=True, capture_output=True
        )
        return read_needs(image, check_file(image).data_end * 512)

    return read


@pytest.fixture
def partitioned(tmp_path):
    """Make a disk with a table; return it, and the end of its last partition by sfdisk's word."""
    if shutil.which("sfdisk", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("sfdisk is not installed")

    def make(table):
        disk = tmp_path / "disk.img"
        with disk.open("wb") as file:
            file.truncate(64 * MIB)
        run = {"check": True, "capture_output": True, "text": True}
        run["env"] = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        subprocess.run(["sfdisk", "-q", disk], input=table, **run)
        text = subprocess.run(["sfdisk", "-d", disk], **run).stdout
        ends = []
        for line in text.splitlines():
            if "start=" in line:
                start, size = map(int, re.findall(r"(?:start|size)= *(\d+)", line))
                ends.append((start + size) * 512)
        return disk, max(ends)

    return make


@pytest.mark.parametrize("name", TABLES)
def test_where_a_disk_may_end(needs, partitioned, name):
    table, end, behind = TABLES[name]
    disk, last = partitioned(table)
    found = needs(disk)
    assert end in (None, last)
    assert (found.last_partition, found.end, found.sector_size) == (last, last + behind, 512)
    assert found.lack_of(NodeDisk("sda", "/dev/sda", last + behind, 512)) == ""
    assert found.lack_of(NodeDisk("sda", "/dev/sda", None, None)) == ""
    small = found.lack_of(NodeDisk("sda", "/dev/sda", last + behind - 512, 512))
    assert small.startswith("the disk is too small for the image: its partitions end at byte ")
    assert "sectors of 4096" in found.lack_of(NodeDisk("sda", "/dev/sda", 1 << 40, 4096))
    assert found.reaches_beyond(NodeDisk("sda", "/dev/sda", last, 512))


def test_an_image_without_a_table_needs_what_it_holds(needs, tmp_path):
    disk = tmp_path / "bare"
    disk.write_bytes(b"data" * MIB)
    found = needs(disk)
    assert (found.sector_size, found.end) == (None, 4 * MIB)
    assert found.lack_of(NodeDisk("sda", "/dev/sda", 4 * MIB, 4096)) == ""
    assert "its data ends at byte 4194304" in found.lack_of(NodeDisk("sda", "/dev/sda", MIB, 512))


def gpt_of_large_sectors(end):
    """Make a GPT for sectors of 4096 bytes: a partition from sector 256 to `end`."""
    disk = bytearray(32 * MIB)
    struct.pack_into("<B3xB3xII", disk, 446, 0, 0xEE, 1, 8191)
    disk[510:512] = b"\x55\xaa"
    table = gpt([(256, end - 256)], 4096, 8192)
    disk[4096 : 4096 + len(table)] = table
    return bytes(disk)


def test_large_sectors(needs, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(gpt_of_large_sectors(2048))
    found = needs(disk)
    assert (found.sector_size, found.last_partition) == (4096, 2048 * 4096)
    assert found.end == (2048 + 5) * 4096
    assert "of 4096 bytes, /dev/sda has sectors of 512" in found.lack_of(
        NodeDisk("sda", "/dev/sda", 1 << 40, 512)
    )


def test_a_seal_of_version_2_says_the_size_of_sectors(tmp_path, needs):
    disk = bytearray(16 * MIB)
    struct.pack_into("<B3xB3xII", disk, 446, 0, 0x83, 0, 0)
    struct.pack_into("<B3xB3xII", disk, 446, 0x80, 0x83, 256, 512)
    disk[510:512] = b"\x55\xaa"
    (tmp_path / "disk").write_bytes(disk)
    assert needs(tmp_path / "disk").last_partition == 768 * 512
    image = tmp_path / "image.ndz"
    with image.open("r+b") as file:
        file.seek(SEAL_AT + 12)
        file.write(struct.pack("<HH", 2, 3 << 8))
    found = read_needs(image, 16 * MIB)
    assert (found.sector_size, found.last_partition) == (4096, 768 * 4096)


@pytest.mark.parametrize("what", ["loop", "fat", "no gpt"])
def test_strange_tables_are_no_danger(needs, tmp_path, what):
    disk = bytearray(16 * MIB)
    disk[510:512] = b"\x55\xaa"
    if what == "loop":
        struct.pack_into("<B3xB3xII", disk, 446, 0, 0x05, 2048, 8192)
        at = 2048 * 512
        struct.pack_into("<B3xB3xII", disk, at + 446, 0, 0x83, 8, 100)
        struct.pack_into("<B3xB3xII", disk, at + 462, 0, 0x05, 0, 100)
        disk[at + 510 : at + 512] = b"\x55\xaa"
    elif what == "fat":
        disk[446:510] = b"This is not a bootable disk. Insert a floppy and press any key!!"
    else:
        struct.pack_into("<B3xB3xII", disk, 446, 0, 0xEE, 1, 8191)
    (tmp_path / "disk").write_bytes(disk)
    assert needs(tmp_path / "disk").last_partition == ((2048 + 8192) * 512 if what == "loop" else 0)


def test_an_old_gpt_behind_a_new_mbr_needs_nothing(needs, tmp_path):
    disk = bytearray(16 * MIB)
    struct.pack_into("<B3xB3xII", disk, 446, 0, 0x83, 2048, 2048)
    disk[510:512] = b"\x55\xaa"
    table = gpt([(2048, 8192)], 512, 32768)
    disk[512 : 512 + len(table)] = table
    (tmp_path / "disk").write_bytes(disk)
    assert needs(tmp_path / "disk").end == 2 * MIB


@pytest.mark.parametrize("name", ["gpt", "many"])
def test_a_damaged_gpt_counts_by_its_backup_as_for_the_system(needs, partitioned, name):
    table, _, behind = TABLES[name]
    disk, last = partitioned(table)
    with disk.open("r+b") as file:
        file.seek(512 + 80)  # the number of entries
        file.write(b"\x01")
    found = needs(disk)
    assert (found.last_partition, found.end) == (last, last + behind)
    with disk.open("r+b") as file:
        file.truncate(63 * MIB)
    assert needs(disk).last_partition == 0  # no system finds a partition there


def test_what_is_no_image_is_said(tmp_path):
    (tmp_path / "x.ndz").write_bytes(bytes(MIB))
    with pytest.raises(ImageError, match=r"x\.ndz: cannot be read"):
        read_needs(tmp_path / "x.ndz", 0)
