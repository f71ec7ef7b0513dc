"""UFS1 and UFS2: what is free in their cylinder groups, and when that is not believed."""

import subprocess

import pytest
import ufs_made
from ufs_made import FRAGMENT, GROUP, INODES, PARTS, SIZE, made_ufs

from rhubarbe.imaging.filesystems.blocksize import least_sector_size
from rhubarbe.imaging.filesystems.identify import find_usage
from rhubarbe.imaging.filesystems.usage import PartitionPlace
from rhubarbe.ndz.check import check_file

MIB = 1 << 20
FREE = [[(56, 63), (104, 2048)], [(0, 16), (48, 50), (80, 1999)], [(64, 904)]]
"""In the second one also what is before its metadata, where that is shifted; the third is short."""


def usage_of(data):
    place = PartitionPlace("disk", 0, len(data), is_all=True)
    return find_usage(lambda at, count: bytes(data[at : at + count]), place)


def in_fragments(usage):
    return [(start / 2, end / 2) for start, end in usage.used]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("version", "at"), [(1, 8192), (1, 0), (1, 262144), (2, 65536), (2, 8192)])
def test_of_each_group_what_its_map_calls_free_is_left_out(version, at, order):
    usage = usage_of(made_ufs(FREE, version=version, at=at, order=order))
    assert (usage.kind, usage.end, usage.remark) == ("ufs", 2 * SIZE, "")
    second, third = GROUP, 2 * GROUP
    assert in_fragments(usage) == [
        (0, 56), (63, 104), (second + 16, second + 48), (second + 50, second + 80),
        (second + 1999, third + 64),
    ]  # fmt: skip


def test_the_metadata_of_a_group_may_be_shifted_and_is_never_free():
    shift = 16  # of the second group by 16 fragments, of the third by 32
    free = [[(0, 2048)], [(0, 2000)], [(0, 48), (80, 904)]]
    usage = usage_of(made_ufs(free, version=1, shift=shift))
    second, third = GROUP, 2 * GROUP
    assert in_fragments(usage) == [
        (0, 49),  # with the summary of all groups
        (second + 32, second + 64), (second + 2000, third), (third + 48, third + 80),
    ]  # fmt: skip


@pytest.mark.parametrize(("initialized", "blocks"), [(0, 0), (1, 1), (32, 1), (33, 2), (64, 2)])
@pytest.mark.parametrize("order", "<>")
def test_inodes_that_were_never_used_are_left_out(order, initialized, blocks):
    free = [[(56, 2048)], [(0, 16), (48, 1000)], [(64, 904)]]
    inodes = min(initialized, 3), initialized
    usage = usage_of(made_ufs(free, order=order, inodes=inodes))
    second, third, end = GROUP, 2 * GROUP, 32 + 8 * blocks
    expected = [(0, end), (48, 56), (second + 16, second + end), (second + 1000, third + end),
                (third + 48, third + 64)]  # fmt: skip
    if blocks == 2:
        expected = [(0, 56), *expected[2:3], (second + 1000, third + 64)]
    assert usage.remark == ""
    assert in_fragments(usage) == expected
    whole = usage_of(made_ufs(free, version=1, inodes=inodes)).used
    assert whole == usage_of(made_ufs(free, order=order, inodes=(3, INODES))).used


def test_where_the_inodes_are_not_as_many_as_their_blocks_have_all_is_stored():
    expected = usage_of(made_ufs(FREE)).used
    more = made_ufs(FREE, inodes=(3, 32), change=(184, 4, 128))  # than the groups say
    assert usage_of(more).used == expected
    for group in range(3):  # now they say so, too: they would fill more blocks than there are
        at = (group * GROUP + PARTS[1]) * FRAGMENT
        more[at + 116 : at + 118] = (128).to_bytes(2, "little")
    assert usage_of(more).used == expected


def test_a_last_group_too_small_for_its_metadata_makes_all_of_it_stored():
    size = 2 * GROUP + 20
    data = made_ufs([*FREE[:2], []], change=(1080, 8, size))
    at = (2 * GROUP + PARTS[1]) * FRAGMENT
    data[at + 20 : at + 24] = (20).to_bytes(4, "little")
    usage = usage_of(data)
    assert usage.used == ((0, 2 * SIZE),)
    assert "ufs group 2 is too small for its metadata" in usage.remark


@pytest.mark.parametrize("inodes", [(33, 32), (3, 65), (3, 1 << 31)])
def test_inodes_that_are_used_and_not_initialized_make_it_stored(inodes):
    usage = usage_of(made_ufs(FREE, inodes=inodes))
    assert usage.used == ((0, 2 * SIZE),)
    assert "the inodes of its ufs group 0 make no sense" in usage.remark


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((209, 1, 0), "was not unmounted"),
        ((209, 1, 2), "was not unmounted"),  # mounted, in NetBSD
        ((209, 1, 0xFD), "was not unmounted"),  # logging, in Solaris
        ((1312, 4, 0x1), "has errors"),
        ((1312, 4, 0x4), "has errors"),
        ((211, 1, 0x84), "has errors"),
        ((1312, 4, 0x40), "journal of gjournal"),
        ((1312, 4, 0x02000000), "features not known here (0x2000000)"),
        ((1032, 8, 1), "not as much of its ufs filesystem is free as it says"),
        ((1016, 8, 1), "not as much of its ufs filesystem is free as it says"),
        ((1080, 8, 1 << 40), "makes no sense"),
        ((1080, 8, 0), "makes no sense"),
        ((44, 4, 4), "makes no sense"),
        ((44, 4, 0xFFFFFFFF), "makes no sense"),
        ((188, 4, 0xFFFFFFFF), "makes no sense"),
        ((188, 4, 0), "makes no sense"),
        ((48, 4, 0), "makes no sense"),
        ((48, 4, 4096), "makes no sense"),
        ((52, 4, 0), "makes no sense"),
        ((56, 4, 0), "makes no sense"),
        ((160, 4, 8193), "makes no sense"),
        ((20, 4, 0x80000000), "makes no sense"),
        ((12, 4, 25), "group 0 makes no sense"),
        ((1000, 8, 8192), "makes no sense"),
        ((52, 4, 2048), "makes no sense"),
    ],
)
def test_what_is_not_sound_is_stored_whole(change, words):
    usage = usage_of(made_ufs(FREE, change=change))
    assert usage.used == ((0, 2 * SIZE),)
    assert words in usage.remark
    assert usage.remark.endswith(("stored whole", "stored raw"))


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (4, "makes no sense"),  # its magic
        (12, "makes no sense"),  # its number
        (20, "makes no sense"),  # how many fragments it has
        (28, "not as much"),  # free blocks
        (36, "not as much"),  # free fragments
        (92, "makes no sense"),  # where the map of inodes is
        (96, "makes no sense"),  # where that of fragments is
        (ufs_made.MAP_AT + 20, "not as much"),
    ],
)
@pytest.mark.parametrize("value", [b"\x7f" * 4, b"\x01\x00\x00\x80", b"\x04\0\0\0"])
def test_a_group_that_is_not_sound_makes_all_of_it_stored(at, words, value):
    data = made_ufs([*FREE[:1], [(64, 1000)], FREE[2]])
    place = (GROUP + PARTS[1]) * FRAGMENT + at
    data[place : place + 4] = value
    usage = usage_of(data)
    assert usage.used == ((0, 2 * SIZE),)
    assert "ufs group 1" in usage.remark
    assert words in usage.remark


def test_it_is_not_larger_than_its_partition_nor_read_beyond_it():
    whole = made_ufs(FREE)
    usage = usage_of(whole[:-512])
    assert usage.remark == (
        "ufs, but its ufs filesystem needs 10000 sectors, the partition has 9999: stored raw"
    )
    usage = usage_of(whole + bytes(512 * 70))
    assert (usage.end, usage.used[-1][1]) == (10000, 2 * (2 * GROUP + 64))


def test_a_copy_of_the_superblock_is_none_and_another_filesystem_makes_it_raw():
    data = made_ufs(FREE, version=1)
    copy = bytes(data[8192 : 8192 + 1376])
    expected = usage_of(data).used
    for place in (65536, 262144):  # where filesystems with large blocks have copies
        data[place : place + 1376] = copy
    assert usage_of(data).used == expected
    assert "makes no sense" in usage_of(made_ufs(FREE, version=1, at=65536)).remark
    other = bytearray(made_ufs(FREE)[65536 : 65536 + 1376])
    other[144] ^= 1
    data[65536 : 65536 + 1376] = other
    assert "superblocks of two ufs filesystems" in usage_of(data).remark


def test_the_unit_of_what_is_read_is_a_fragment():
    data = made_ufs(FREE, order=">")
    assert least_sector_size(lambda at, count: bytes(data[at : at + count])) == FRAGMENT


@pytest.fixture
def make_disk(tools, tmp_path):
    """Make a filesystem by NetBSD's makefs; return the disk, and the directory that is in it."""

    def make(mib, *options):
        tools.need("makefs")
        files = tmp_path / "files"
        if not files.exists():
            tools.files(files / "some", count=60)
            tools.files(files / "large", count=3, largest=2_500_000)
        disk = tmp_path / "disk.img"
        disk.unlink(missing_ok=True)
        tools.run("makefs", "-t", "ffs", "-s", f"{mib}m", *options, disk, files)
        return disk, files

    return make


KINDS = [
    ["-o", "version=1"],
    ["-o", "version=2"],
    ["-o", "version=1,bsize=4096,fsize=512"],
    ["-o", "version=2,bsize=16384,fsize=2048"],
    ["-o", "version=2,bsize=32768,fsize=4096"],
    ["-o", "version=2,bsize=65536,fsize=65536"],
    ["-o", "version=2,density=2048"],  # many inodes that were never used
]


@pytest.mark.parametrize("options", KINDS)
def test_what_another_reader_finds_is_the_same(make_disk, tools, programs, tmp_path, options):
    """GRUB's reader has nothing in common with ours."""
    tools.need("grub-fstest")
    disk, files = make_disk(96, *options)
    image = tmp_path / "image.ndz"
    programs.zip("-l", disk, image)
    content = sum(path.stat().st_size for path in files.rglob("*") if path.is_file())
    edges = (6 << 20) + (64 << 10)
    assert check_file(image).data_bytes < 1.25 * content + edges
    target = programs.restore_on_junk(image, 96 * MIB)
    assert target.read_bytes().count(b"\xaa" * 4096) * 4096 > 60 * MIB
    for path in sorted(files.rglob("f*")):
        command = ["grub-fstest", target, "cmp", f"/{path.relative_to(files)}", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_both_orders_of_bytes_are_read_alike(make_disk):
    for version in ("version=1", "version=2"):
        little, big = (
            usage_of(make_disk(64, "-B", order, "-o", version)[0].read_bytes())
            for order in ("le", "be")
        )
        assert (little.remark, big.remark) == ("", "")
        assert little.used == big.used


def test_a_disk_with_larger_sectors_is_read_alike(make_disk):
    sizes = ("-o", "version=2,bsize=32768,fsize=4096")
    usual, large = (usage_of(make_disk(64, "-S", s, *sizes)[0].read_bytes()) for s in (512, 4096))
    assert (large.remark, large.used) == ("", usual.used)


def test_a_partition_of_a_disk(make_disk, tools, programs, tmp_path, capsys):
    tools.need("sfdisk", "grub-fstest")
    part, files = make_disk(64, "-o", "version=2")
    disk, image = tmp_path / "whole.img", tmp_path / "image.ndz"
    disk.write_bytes(bytes(MIB) + part.read_bytes() + bytes(2 * MIB))
    script = "label: gpt\n2048,131072,516E7CB6-6ECF-11D6-8FF8-00022D09712B\n"
    tools.run("sfdisk", "-q", "--wipe", "never", disk, input=script)
    programs.zip(disk, image)
    assert "P1" not in capsys.readouterr().err
    target = programs.restore_on_junk(image, 67 * MIB)
    part.write_bytes(target.read_bytes()[MIB : 65 * MIB])
    assert part.read_bytes().count(b"\xaa" * 4096) > 10 << 8
    path = "some/f7"
    tools.run("grub-fstest", part, "cmp", f"/{path}", files / path)
