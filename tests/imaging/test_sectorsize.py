"""Disks whose logical sectors have 4096 bytes: devices, and files by what their table says."""

import re

import pytest

from rhubarbe.disk.partitions import read_partitions
from rhubarbe.imaging.sectorsize import of_table
from rhubarbe.ndz.check import check_file

MIB = 1 << 20
MBR = "o\nn\np\n1\n256\n+8M\nn\np\n2\n\n+8M\nn\ne\n3\n\n\nn\n\n+6M\nw\n"
GPT = "g\nn\n1\n256\n+8M\nn\n2\n\n+8M\nw\n"


@pytest.fixture
def make_disk(tools, tmp_path):
    """Make a disk by fdisk, with a filesystem on its first partition, whose blocks say its size."""

    def make(script, sector_size, name="disk.img"):
        tools.need("fdisk", "mke2fs")
        disk = tmp_path / name
        disk.write_bytes(bytes(32 * MIB))
        tools.run("fdisk", "-b", sector_size, disk, input=script)
        start = 256 * sector_size
        tools.run("mke2fs", "-q", "-F", "-b4096", "-E", f"offset={start}", disk, "8m")
        return disk

    return make


@pytest.mark.parametrize("script", [MBR, GPT])
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_the_table_of_a_file_says_it(make_disk, tools, script, sector_size):
    if sector_size == 512:
        script = script.replace("256", "2048")
    disk = make_disk(script, sector_size)
    data = disk.read_bytes()
    if sector_size == 512:
        tools.run("mke2fs", "-q", "-F", "-E", f"offset={MIB}", disk, "8m")
        data = disk.read_bytes()

    def read_at(offset, count):
        return data[offset : offset + count]

    assert of_table(read_at, len(data)) == sector_size
    found = read_partitions(read_at, len(data), sector_size).partitions
    text = tools.run("fdisk", "-b", sector_size, "-l", "-o", "Device,Start,Sectors", disk)
    listed = re.findall(r"img(\d+) +(\d+) +(\d+)$", text, re.M)
    factor = sector_size // 512
    assert [(p.number, p.start // factor, p.size // factor) for p in found] == [
        tuple(map(int, each)) for each in listed
    ]


@pytest.mark.parametrize("script", [MBR, GPT])
def test_an_image_of_such_a_disk_says_so(make_disk, programs, tools, tmp_path, capsys, script):
    disk, image = make_disk(script, 4096), tmp_path / "image.ndz"
    programs.zip(disk, image)
    assert check_file(image).sector_size == 4096
    programs.dump("-c", image)
    assert "of a disk with sectors of 4096 bytes" in capsys.readouterr().out
    assert check_file(image).data_bytes < 30 * MIB
    target = programs.restore_on_junk(image, 40 * MIB)
    part = tmp_path / "part.img"
    part.write_bytes(target.read_bytes()[MIB : 9 * MIB])
    tools.run("e2fsck", "-fn", part)
    listed = ["fdisk", "-b", "4096", "-l", "-o", "Device,Start,Sectors,Type"]
    text = [tools.run(*listed, each) for each in (disk, target)]
    rows = [re.findall(r"img(\d.*)$", each, re.M) for each in text]
    assert rows[0] == rows[1] != []


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_gpt_that_counts_other_sectors_than_usual_is_called_that(
    programs, tools, tmp_path, capsys, is_damaged
):
    tools.need("fdisk")
    disk, image = tmp_path / "disk.img", tmp_path / "image.ndz"
    disk.write_bytes(bytes(32 * MIB))
    tools.run("fdisk", "-b", 4096, disk, input=GPT)
    with disk.open("r+b") as file:
        file.seek(4096 + 60)
        file.write(b"damaged" if is_damaged else b"")
    programs.zip(disk, image)
    said = capsys.readouterr().err
    assert "GPT: of a disk with sectors of 4096 bytes" in said
    assert ("GPT: using backup GPT" in said) == is_damaged
    assert check_file(image).sector_size == 4096
    programs.zip("--sector-size", "512", disk, image, status=1)
    assert "its GPT counts in sectors of 4096 bytes" in capsys.readouterr().err


def test_an_mbr_that_nothing_tells_of_is_said_to_be_read_as_usual(
    tools, programs, tmp_path, capsys
):
    tools.need("sfdisk")
    disk, image = tmp_path / "disk.img", tmp_path / "image.ndz"
    disk.write_bytes(tools.noise(16 * MIB))
    tools.run("sfdisk", "-q", "--wipe", "never", disk, input="label: dos\n256,2048,da\n")
    words = "read in sectors of 512 bytes, as nothing tells"
    programs.zip(disk, image)
    assert words in capsys.readouterr().err
    programs.zip("--sector-size", "4096", disk, image)
    assert words not in capsys.readouterr().err
    assert check_file(image).sector_size == 4096


def test_sector_sizes_are_512_to_4096(tools, programs, tmp_path, capsys):
    disk = tools.junk(tmp_path / "disk.img", MIB)
    for size in ("0x200", "513", "8192"):
        status = 0 if size == "0x200" else 1
        programs.zip("-r", "--sector-size", size, disk, tmp_path / "image.ndz", status=status)
    assert "--sector-size: 8192 is none of 512, 1024" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").sector_size == 512


@pytest.mark.full
@pytest.mark.parametrize("script", [MBR, GPT])
def test_a_device_is_saved_and_restored(make_disk, loop, programs, tools, tmp_path, script):
    source = loop(make_disk(script, 4096), 4096)
    image = tmp_path / "image.ndz"
    programs.zip(source, image)
    target = loop(tools.junk(tmp_path / "target.img", 48 * MIB), 4096)
    tools.run("sfdisk", "-q", target, input="label: gpt\n512,1024,L\n")
    programs.unzip("--verify", image, target)
    assert tools.run("sfdisk", "-J", source).splitlines()[5:] != []
    assert "No errors detected" in tools.run("sfdisk", "-V", target)
    for device in (source, target):
        assert tools.run("blkid", "-p", "-O", MIB, "-o", "value", "-s", "TYPE", device) == "ext2\n"
    rows = [
        re.findall(r"start= *(\d+), size= *(\d+)", tools.run("sfdisk", "-d", each))
        for each in (source, target)
    ]
    assert rows[0] == rows[1] != []


@pytest.mark.full
@pytest.mark.parametrize("script", [MBR, GPT])
@pytest.mark.parametrize(("made", "there"), [(512, 4096), (4096, 512)])
def test_the_other_sectors_are_refused(  # noqa: PLR0917
    make_disk, loop, programs, tools, tmp_path, capsys, script, made, there
):
    image = tmp_path / "image.ndz"
    programs.zip(loop(make_disk(script, made), made), image)
    disk = tools.junk(tmp_path / "target.img", 48 * MIB)
    programs.unzip("--verify", image, loop(disk, there), status=1)
    words = f"its sectors have {there} bytes, the image is of a disk with sectors of {made}"
    assert words in capsys.readouterr().err
    assert disk.read_bytes() == b"\xaa" * (48 * MIB)


@pytest.mark.full
def test_a_table_of_other_sectors_on_a_device_is_refused(
    make_disk, loop, programs, tmp_path, capsys
):
    device = loop(make_disk(GPT, 4096), 512)
    programs.zip(device, tmp_path / "image.ndz", status=1)
    assert "its GPT counts in sectors of 4096 bytes" in capsys.readouterr().err
    programs.zip("-r", device, tmp_path / "image.ndz")
