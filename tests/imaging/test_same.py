"""One name too many: what is read is not written, and what is named is there."""

import os
import struct

import pytest

from rhubarbe.imaging.errors import SourceError
from rhubarbe.imaging.source import Source

MIB = 1 << 20


@pytest.fixture
def disk(tools, tmp_path):
    tools.need("sfdisk")
    disk = tools.junk(tmp_path / "disk.img", 16 * MIB)
    tools.run("sfdisk", "-q", "--wipe", "never", disk, input="label: dos\n2048,4096,83\n,4096,83\n")
    return disk


@pytest.mark.parametrize("name", ["disk.img", "link", "hard"])
@pytest.mark.parametrize("options", [[], ["-r"]])
def test_an_image_does_not_take_the_place_of_its_disk(disk, programs, capsys, name, options):
    disk.with_name("link").symlink_to("disk.img")
    disk.with_name("hard").hardlink_to(disk)
    before = disk.read_bytes()
    programs.zip(*options, disk, disk.with_name(name), status=1)
    assert "is what is read" in capsys.readouterr().err
    assert disk.read_bytes() == before


def test_nor_of_what_the_unfinished_image_is_called_like(disk, programs):
    disk = disk.rename(disk.with_name("image.ndz.partial"))
    before = disk.read_bytes()
    programs.zip("-r", disk, disk.with_name("image.ndz"), status=1)
    assert disk.read_bytes() == before


@pytest.mark.parametrize("name", ["image.ndz", "link"])
def test_a_restore_does_not_empty_its_image(disk, programs, capsys, name):
    image = disk.with_name("image.ndz")
    image.with_name("link").symlink_to("image.ndz")
    programs.zip("-r", disk, image)
    before = image.read_bytes()
    programs.unzip(image, image.with_name(name), status=1)
    assert "is what is read" in capsys.readouterr().err
    assert image.read_bytes() == before


@pytest.mark.full
def test_a_device_is_not_imaged_onto_itself(disk, loop, programs, tools):
    device = loop(disk)
    before = disk.read_bytes()
    programs.zip(device, device, status=1)
    assert disk.read_bytes() == before
    programs.zip("-r", device, loop(tools.junk(disk.with_name("other"), 32 * MIB)))


@pytest.mark.parametrize("option", ["-I", "-R"])
def test_a_partition_that_is_not_there_is_not_left_out_in_silence(disk, programs, capsys, option):
    image = disk.with_name("image.ndz")
    programs.zip(option, "9", disk, image, status=1)
    assert "no slice 9 on this disk; there are: 1, 2" in capsys.readouterr().err
    programs.zip(option, "4", disk, image)  # an entry that is empty is there
    for other in (["-s1"], ["-r"], ["-l"]):
        programs.zip(option, "1", *other, disk, image, status=1)
        assert "they do not go with -s, -r, -l" in capsys.readouterr().err


def test_what_a_slice_is_too_small_for_is_refused_before_it_is_written(
    disk, programs, tools, capsys
):
    image, target = disk.with_name("image.ndz"), disk.with_name("target.img")
    programs.zip("-R1", disk, image)
    tools.junk(target, 16 * MIB)
    tools.run("sfdisk", "-q", "--wipe", "never", target, input="label: dos\n2048,2048,83\n")
    before = target.read_bytes()
    programs.unzip("-s1", image, target, status=1)
    assert "the slice is too small, nothing was written" in capsys.readouterr().err
    assert target.read_bytes() == before


@pytest.mark.full
def test_the_file_behind_a_mounted_disk_is_in_use(loop, programs, tools, tmp_path, capsys):
    tools.need("mke2fs", "mount")
    disk, image, point = tmp_path / "disk.img", tmp_path / "image.ndz", tmp_path / "point"
    disk.write_bytes(bytes(16 * MIB))
    tools.run("mke2fs", "-q", "-F", disk)
    programs.zip(disk, image)
    point.mkdir()
    tools.run("mount", loop(disk), point)
    try:
        before = disk.read_bytes()
        for options in ([], ["--as-device", "--verify"]):
            programs.unzip(*options, image, disk, status=1)
            assert "is in use (loop" in capsys.readouterr().err
        assert disk.read_bytes() == before
    finally:
        tools.run("umount", point)
    programs.unzip("--as-device", image, disk)


def test_a_disk_that_becomes_shorter_meanwhile_is_no_image(tools, tmp_path):
    disk = tools.noisy(tmp_path / "disk.img", 64 * MIB)
    with Source(str(disk)) as source:
        source.require_whole()
        os.truncate(disk, 32 * MIB)
        with pytest.raises(SourceError, match="became shorter meanwhile: 33554432 bytes"):
            source.require_whole()


SUPERBLOCK = struct.pack("<II", 0xA92B4EFC, 1)


@pytest.mark.parametrize("size", [20, 24])
def test_a_filesystem_on_a_larger_disk_that_was_a_raid_member_is_refused(
    programs, tools, tmp_path, capsys, size
):
    tools.need("mke2fs", "blkid")
    disk, image, target = (tmp_path / name for name in ("disk.img", "image.ndz", "target.img"))
    disk.write_bytes(bytes(16 * MIB))
    tools.run("mke2fs", "-q", "-F", disk)
    programs.zip(disk, image)
    tools.junk(target, size * MIB)
    at = size * MIB // 512 - 16
    superblock = bytearray(256)
    superblock[:8] = SUPERBLOCK
    struct.pack_into("<Q", superblock, 144, at)
    with target.open("r+b") as file:
        file.seek(at * 512)
        file.write(superblock)
    before = target.read_bytes()
    programs.unzip("--as-device", "--verify", image, target, status=1)
    assert "bears the mark of RAID member (md)" in capsys.readouterr().err
    assert target.read_bytes() == before
    tools.junk(target, size * MIB)
    programs.unzip("--as-device", "--verify", image, target)
    assert tools.run("blkid", "-p", "-o", "value", "-s", "TYPE", target).strip() == "ext2"
