"""`-D` sets the type of the slice that was restored, or is refused before anything is written."""

import zlib

import pytest
from gpts import gpt

LINUX = bytes.fromhex("af3dc60f838472478e793d69d8477de4")
ESP = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
SIZE = 12 << 20


@pytest.fixture
def image(small_image, tmp_path):
    (tmp_path / "image.ndz").write_bytes(small_image("d4-raw"))
    return tmp_path / "image.ndz"


@pytest.fixture
def gpt_disk(tools, tmp_path):
    def make(table):
        disk = tmp_path / "disk.img"
        disk.write_bytes(bytes(SIZE))
        tools.run("sfdisk", "-q", disk, input=f"label: gpt\n{table}")
        return disk

    return make


def checksums_are_true(header, entries):
    size = int.from_bytes(header[12:16], "little")
    check, header = header[16:20], header[:16] + bytes(4) + header[20:]
    return (
        zlib.crc32(header[:size]).to_bytes(4, "little") == check
        and zlib.crc32(entries).to_bytes(4, "little") == header[88:92]
    )


def test_a_slice_of_an_mbr(image, programs, tools, tmp_path, capsys):
    tools.need("sfdisk")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(SIZE))
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,20480,7\n")
    programs.unzip("-s1", "-D", "0x83", image, disk)
    assert "Set partition 1 type to 0x0083" in capsys.readouterr().err
    assert "type=83" in tools.run("sfdisk", "-d", disk)
    programs.unzip("-D", "0x83", image, disk, status=1)


@pytest.mark.parametrize(("kind", "guid"), [("0x83", LINUX), ("239", ESP)])
def test_a_slice_of_a_gpt_in_both_copies(image, programs, tools, gpt_disk, kind, guid):
    tools.need("sfdisk")
    disk = gpt_disk("2048,1024,U\n4096,17000,S\n")
    before = disk.read_bytes()
    programs.unzip("-s2", "-D", kind, image, disk)
    after = disk.read_bytes()
    primary, backup = after[512 : 34 * 512], after[-33 * 512 :]
    assert checksums_are_true(primary[:512], primary[512:])
    assert checksums_are_true(backup[-512:], backup[:-512])
    assert primary[512:] == backup[:-512]
    assert primary[512 + 128 : 512 + 144] == guid
    assert primary[512 + 144 :] == before[2 * 512 + 144 : 34 * 512]
    assert primary[512 : 512 + 128] == before[2 * 512 : 2 * 512 + 128]


def test_the_system_s_tools_find_a_gpt_sound_and_the_type_set(image, programs, tools, gpt_disk):
    tools.need("sfdisk", "sgdisk")
    disk = gpt_disk("2048,1024,U\n4096,17000,S\n")
    programs.unzip("-s2", "-f", "-D", "0x83", image, disk)
    assert "No problems found" in tools.run("sgdisk", "-v", disk)
    assert "0FC63DAF-8483-4772-8E79-3D69D8477DE4" in tools.run("sgdisk", "-i", "2", disk)
    assert "No errors" in tools.run("sfdisk", "-V", disk)


@pytest.mark.parametrize("lost", [1, -1], ids=["primary", "backup"])
def test_a_copy_that_is_damaged_stays_as_it_is(image, programs, tools, gpt_disk, lost):
    tools.need("sfdisk")
    disk = gpt_disk("4096,17000,S\n")
    data = bytearray(disk.read_bytes())
    at = 512 if lost == 1 else SIZE - 512
    data[at : at + 512] = b"\x55" * 512
    disk.write_bytes(data)
    programs.unzip("-s1", "-D", "0x83", image, disk)
    after = disk.read_bytes()
    assert after[at : at + 512] == b"\x55" * 512
    assert after.count(LINUX) == 1


def test_a_gpt_of_larger_sectors(image, programs, tmp_path):
    disk = tmp_path / "disk.img"
    protective = bytearray(512)
    protective[446 + 4], protective[446 + 8], protective[510:] = 0xEE, 1, b"\x55\xaa"
    protective[446 + 12 : 446 + 16] = (SIZE // 4096 - 1).to_bytes(4, "little")
    table = gpt([(256, 2200)], 4096, SIZE // 4096)
    disk.write_bytes((bytes(protective).ljust(4096, b"\0") + table).ljust(SIZE, b"\0"))
    programs.unzip("-s1", "-D", "0x83", image, disk)
    after = disk.read_bytes()
    assert after[2 * 4096 : 2 * 4096 + 16] == LINUX
    assert checksums_are_true(after[4096 : 4096 + 512], after[8192 : 8192 + 128 * 128])


@pytest.mark.parametrize(
    ("table", "slice_number", "kind", "words"),
    [
        ("label: gpt\n2048,20000,L\n", 1, "0x63", "type 0x63 has no counterpart in a GPT"),
        ("label: gpt\n2048,20000,L\n", 1, "0xEE", "type 0xEE has no counterpart in a GPT"),
        ("label: gpt\n2048,20000,L\n", 2, "0x83", "no slice 2 on this disk; there are: 1"),
        ("label: dos\n2048,20000,83\n", 1, "0x0F", "P1 cannot become 0x0F"),
        ("label: dos\n2048,20000,83\n", 1, "0xEE", "P1 cannot become 0xEE"),
        ("label: dos\n2048,20000,5\n4096,17000,83\n", 5, "0x82", "P5 has no type to set"),
        ("label: dos\n2048,20000,83\n", 1, "256", "256 is not between 1 and 255"),
        ("label: dos\n2048,20000,83\n", 1, "Linux", "'Linux' is not a number"),
    ],
)
def test_a_type_that_cannot_be_set_is_refused_before_anything_is_written(  # noqa: PLR0917
    table, slice_number, kind, words, image, programs, tools, tmp_path, capsys
):
    tools.need("sfdisk")
    disk = tools.junk(tmp_path / "disk.img", SIZE)
    disk.write_bytes(bytes(1 << 20) + disk.read_bytes()[1 << 20 :])
    tools.run("sfdisk", "-q", disk, input=table)
    before = disk.read_bytes()
    programs.unzip("-s", slice_number, "-D", kind, image, disk, status=1)
    assert words in capsys.readouterr().err.splitlines()[0]
    assert disk.read_bytes() == before


@pytest.mark.parametrize(
    ("table", "slice_number", "words"),
    [
        ("2048,20000,5\n4096,17000,83\n", 1, "that of its logical partitions"),
        ("2048,20000,f\n", 1, "that of its logical partitions"),
        ("2048,20000,83\n", 1, "this one"),
    ],
)
def test_a_slice_that_holds_a_table_is_not_written_over(  # noqa: PLR0917
    table, slice_number, words, image, programs, tools, tmp_path, capsys
):
    tools.need("sfdisk")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(SIZE))
    tools.run("sfdisk", "-q", disk, input=f"label: dos\n{table}")
    if words == "this one":  # as BSD's "dangerously dedicated" disks have it
        with disk.open("r+b") as file:
            file.seek(446 + 8)
            file.write(bytes(4))
    before = disk.read_bytes()
    programs.unzip("-s", slice_number, image, disk, status=1)
    said = capsys.readouterr().err
    assert f"slice {slice_number} holds a partition table, {words}" in said
    assert said.count("\n") == 1
    assert disk.read_bytes() == before
