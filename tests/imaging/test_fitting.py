"""The image of a whole disk on disks of other sizes; what it must be, sgdisk and blkid say."""

import re
import struct
import subprocess
import sys

import pytest

from rhubarbe.imaging.errors import TargetTooSmall, WrongSectorSize
from rhubarbe.imaging.firstchunk import FirstChunk
from rhubarbe.imaging.fitting import Fate, Fit, ImageExtent, TargetDisk, fit
from rhubarbe.ndz.check import check_file
from rhubarbe.ndz.header import CHUNK, Region

MIB = 1 << 20
PARTITIONS = ["-n1:2048:+12M", "-c1:first", "-n2:0:+8M", "-t2:8200"]


@pytest.fixture
def make_gpt(tools, tmp_path):
    """Make a disk with a GPT of two partitions, and its image."""

    def make(mib, *options):
        tools.need("sgdisk", "mke2fs")
        disk, image = tmp_path / "disk.img", tmp_path / "image.ndz"
        disk.write_bytes(b"")
        with disk.open("r+b") as file:
            file.truncate(mib * MIB)
        tools.run("sgdisk", *(options or PARTITIONS), disk)
        tools.run("mke2fs", "-q", "-F", "-E", f"offset={MIB}", disk, "12m")
        return disk, image

    return make


def old_life(tools, path, size):
    """Make a disk that had another GPT before."""
    tools.junk(path, size)
    tools.run("sgdisk", "-Z", path)
    tools.run("sgdisk", "-n1:4096:+10M", "-c1:OLDLIFE", path)
    return path


def facts(tools, disk):
    """The partitions, as sgdisk prints them, without what depends on the size of the disk."""
    text = tools.run("sgdisk", "-p", "-i1", "-i2", disk)
    return re.findall(r"^(?: +\d.*|Partition unique GUID.*|Disk identifier.*)$", text, re.M)


@pytest.mark.parametrize("mib", [23, 31, 32, 33, 70])
@pytest.mark.parametrize("protective", ["plain", "hybrid"])
def test_the_backup_of_a_gpt_is_at_the_end_of_the_disk(
    make_gpt, tools, programs, tmp_path, mib, protective
):
    disk, image = make_gpt(32)
    if protective == "hybrid":
        tools.run("sgdisk", "-h", "1", disk)
    programs.zip(disk, image)
    target = old_life(tools, tmp_path / "target.img", mib * MIB)
    programs.unzip("--as-device", "--verify", image, target)
    assert "No problems found" in tools.run("sgdisk", "-v", target)
    assert facts(tools, target) == facts(tools, disk)
    if mib == 32:
        assert target.read_bytes()[-MIB:] == disk.read_bytes()[-MIB:]
    if protective == "hybrid":  # which sgdisk reads by its primary copy only
        return
    with target.open("r+b") as file:
        file.seek(512)
        file.write(bytes(33 * 512))
    assert "OLDLIFE" not in tools.run("sgdisk", "-p", target)
    assert facts(tools, target) == facts(tools, disk)


def test_a_partition_beyond_the_end_is_refused_before_anything_is_written(
    make_gpt, tools, programs, tmp_path, capsys
):
    disk, image = make_gpt(32)
    programs.zip(disk, image)
    for size in (20 * MIB, 21 * MIB + 512 * 32):  # the latter without room for the backup
        target = tools.junk(tmp_path / "target.img", size)
        before = target.read_bytes()
        programs.unzip("--as-device", image, target, status=1)
        message = "the image's partition 2 and the backup of the table behind it end at byte"
        assert f"nothing was written: {message}" in capsys.readouterr().err
        assert target.read_bytes() == before
    programs.unzip("--as-device", image, tools.junk(target, 21 * MIB + 512 * 33))


@pytest.mark.parametrize("script", ["2048,43008,83", "2048,2048,83\n6144,38912,5\n8192,2048,83"])
def test_an_mbr_whose_partition_ends_beyond_is_refused(tools, programs, tmp_path, capsys, script):
    tools.need("sfdisk")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(24 * MIB))
    tools.run("sfdisk", "-q", disk, input=f"label: dos\n{script}\n")
    programs.zip("-r", disk, tmp_path / "image.ndz")
    target = tools.junk(tmp_path / "target.img", 21 * MIB)
    before = target.read_bytes()
    programs.unzip("--as-device", tmp_path / "image.ndz", target, status=1)
    assert re.search(r"nothing was written: the image's partition \d ends", capsys.readouterr().err)
    assert target.read_bytes() == before


def test_what_is_behind_the_last_partition_may_be_left_out(tools, programs, tmp_path, capsys):
    tools.need("sfdisk")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(20 * MIB) + b"x" * MIB + bytes(11 * MIB))
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,4096,83\n")
    programs.zip("-r", disk, tmp_path / "image.ndz")
    warning = "what lies behind the last partition does not fit"
    for size, is_told in ((20, True), (22, False)):
        target = tools.junk(tmp_path / "target.img", size * MIB)
        programs.unzip("--as-device", "--verify", tmp_path / "image.ndz", target)
        assert (warning in capsys.readouterr().err) == is_told
        assert target.read_bytes() == disk.read_bytes()[: size * MIB]


@pytest.mark.parametrize("mib", [24, 32, 80])
def test_nothing_of_a_former_life_is_found_behind(tools, programs, tmp_path, mib):
    tools.need("sfdisk", "wipefs")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(32 * MIB))
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,40960,83\n")
    programs.zip(disk, tmp_path / "image.ndz")
    target = old_life(tools, tmp_path / "target.img", mib * MIB)
    programs.unzip("--as-device", "--verify", tmp_path / "image.ndz", target)
    found = [tools.run("wipefs", "-n", "-p", path) for path in (disk, target)]
    assert found[0] == found[1]
    assert "dos" in found[0]
    assert b"\xaa" not in target.read_bytes()[-MIB:]


def test_a_partition_that_is_left_out_is_neither_stored_nor_cleared(make_gpt, tools, programs):
    disk, image = make_gpt(32)
    programs.zip("-I2", disk, image)
    for mib in (23, 32, 40):
        target = programs.restore_on_junk(image, mib * MIB)
        assert target.read_bytes()[13 * MIB : 21 * MIB] == b"\xaa" * (8 * MIB)
        assert "No problems found" in tools.run("sgdisk", "-v", target)


def test_a_table_of_3_tib_is_made_again_at_the_end(tools, programs, tmp_path, make_gpt, capsys):
    disk, image = make_gpt(3 << 20)
    programs.zip(disk, image)
    for tib in (3, 4):
        target = tmp_path / "target.img"
        target.write_bytes(b"\xaa" * MIB)
        with target.open("r+b") as file:
            file.truncate(tib << 40)
        programs.unzip("--as-device", "--verify", image, target)
        assert "No problems found" in tools.run("sgdisk", "-v", target)
        assert facts(tools, target) == facts(tools, disk)


def test_a_backup_in_the_middle_is_stored_without_the_space_around(make_gpt, tools, programs):
    disk, image = make_gpt(32)
    with disk.open("r+b") as file:
        file.truncate(800 * MIB)
    programs.zip(disk, image)
    assert check_file(image).data_bytes < 40 * MIB
    target = programs.restore_on_junk(image, 800 * MIB)  # of the same size: as it was
    assert target.read_bytes()[: 4 * MIB] == disk.read_bytes()[: 4 * MIB]
    assert b"EFI PART" not in target.read_bytes()[-MIB:]
    assert "No problems found" in tools.run(
        "sgdisk", "-v", programs.restore_on_junk(image, 500 * MIB)
    )


def test_a_damaged_primary_goes_onto_the_same_size_only(make_gpt, programs, tools, capsys):
    disk, image = make_gpt(32)
    with disk.open("r+b") as file:
        file.seek(512 + 60)
        file.write(b"XX")
    programs.zip(disk, image)
    assert "Found invalid" not in tools.run(
        "sgdisk", "-p", programs.restore_on_junk(image, 32 * MIB)
    )
    capsys.readouterr()
    target = tools.junk(disk.with_name("larger.img"), 40 * MIB)
    programs.unzip("--as-device", image, target, status=1)
    assert "the GPT at the start of the image is damaged" in capsys.readouterr().err
    assert target.read_bytes() == b"\xaa" * (40 * MIB)


def test_an_image_from_a_stream_is_made_to_fit(make_gpt, tools, tmp_path):
    disk, _ = make_gpt(32)
    code = "import sys; from rhubarbe.imaging import {0}; sys.exit({0}.main())"
    zipped = subprocess.run(
        [sys.executable, "-c", code.format("imagezip"), disk, "-"], capture_output=True, check=True
    )
    target = old_life(tools, tmp_path / "target.img", 50 * MIB)
    unzip = [sys.executable, "-c", code.format("imageunzip"), "--as-device", "--verify"]
    subprocess.run([*unzip, "-", target], input=zipped.stdout, check=True)
    assert "No problems found" in tools.run("sgdisk", "-v", target)


def first_of(image):
    return FirstChunk(image.read_bytes()[:CHUNK])


def test_sectors_of_another_size(make_gpt, programs, tools, tmp_path):
    disk, image = make_gpt(32)
    programs.zip(disk, image)
    extent = ImageExtent(32 * MIB, 65536)
    for sector_size in (None, 512):
        assert fit(first_of(image), extent, TargetDisk("/dev/x", 32 * MIB, sector_size)) == Fit()
    with pytest.raises(
        WrongSectorSize, match=r"have 4096 bytes, the image is of .* sectors of 512"
    ):
        fit(first_of(image), extent, TargetDisk("/dev/x", 32 * MIB, 4096))


@pytest.mark.parametrize(("block", "fits"), [(1024, False), (4096, True)])
def test_a_filesystem_without_a_table_needs_blocks_that_are_large_enough(
    programs, tools, tmp_path, block, fits
):
    tools.need("mke2fs")
    disk, image = tmp_path / "disk.img", tmp_path / "image.ndz"
    tools.junk(disk, 16 * MIB)
    tools.run("mke2fs", "-q", "-F", "-b", block, disk)
    programs.zip(disk, image)
    target, extent = TargetDisk("/dev/x", 16 * MIB, 4096), ImageExtent(16 * MIB, 32768)
    if fits:
        assert fit(first_of(image), extent, target) == Fit()
        return
    with pytest.raises(WrongSectorSize):
        fit(first_of(image), extent, target)
    programs.zip("-r", "--sector-size", "4096", disk, image)
    for sector_size in (512, 4096):
        assert fit(first_of(image), extent, TargetDisk("/dev/x", 16 * MIB, sector_size)) == Fit()


def test_data_beyond_the_end_is_refused_where_there_is_no_table(programs, tools, tmp_path):
    disk, image = tools.junk(tmp_path / "disk.img", MIB), tmp_path / "image.ndz"
    programs.zip("-r", disk, image)
    with pytest.raises(TargetTooSmall, match="data up to byte 1048576, the disk ends at 1048064"):
        fit(first_of(image), ImageExtent(MIB, 2048), TargetDisk("/dev/x", MIB - 512, 512))


def test_what_is_dropped_and_what_is_changed():
    fitted = Fit(end=100, replaced=((40, 50), (98, 102)), patches=((520, b"new"),))
    assert fitted.fates((Region(30, 15), Region(45, 60))) == [
        (Region(30, 10), Fate.WRITTEN),
        (Region(40, 5), Fate.REPLACED),
        (Region(45, 5), Fate.REPLACED),
        (Region(50, 48), Fate.WRITTEN),
        (Region(98, 2), Fate.REPLACED),
        (Region(100, 2), Fate.REPLACED),
        (Region(102, 3), Fate.LOST),
    ]
    data = memoryview(bytes(512))
    assert fitted.patch(0, data) is data
    assert bytes(fitted.patch(512, data)) == bytes(8) + b"new" + bytes(501)
    assert bytes(fitted.patch(522, data)) == b"w" + bytes(511)


def test_the_boot_code_of_a_filesystem_is_no_table(programs, tools, tmp_path):
    tools.need("mkfs.vfat")
    disk, image = tmp_path / "disk.img", tmp_path / "image.ndz"
    disk.write_bytes(bytes(8 * MIB))
    tools.run("mkfs.vfat", disk)
    with disk.open("r+b") as file:
        file.seek(446)
        file.write(struct.pack("<B3xB3xII", 0x80, 0x0C, 1 << 20, 1 << 20))
    programs.zip("-l", disk, image)
    assert first_of(image).table is None
