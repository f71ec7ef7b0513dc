"""Filesystems whose bytes were altered or cut: the answer makes sense, or they are stored raw."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhubarbe.disk import ranges
from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.ranges import merge
from rhubarbe.imaging.filesystems import identify as identifying
from rhubarbe.imaging.filesystems import partclone, superblocks
from rhubarbe.imaging.filesystems.usage import PartitionPlace

MIB = 1 << 20
SIZE = 24 * MIB
MAKE = {
    "ext": ["mke2fs", "-qF", "-t", "ext4", "-b", "1024"],
    "ext-64bit": ["mke2fs", "-qF", "-t", "ext4", "-O", "64bit,meta_bg,^resize_inode", "-g", "256"],
    "fat16": ["mkfs.vfat", "-F", "16"],
    "fat32": ["mkfs.vfat", "-F", "32", "-s", "1"],
    "swap": ["mkswap", "-q"],
    "ufs1": ["makefs", "-t", "ffs", "-o", "version=1", "-s", str(SIZE)],
    "ufs2": ["makefs", "-t", "ffs", "-o", "version=2", "-s", str(SIZE)],
    "ufs2-group": ["makefs", "-t", "ffs", "-o", "version=2", "-s", str(SIZE)],
}
PLACES = {
    "ext": (1024, 4096),
    "fat": (0, 512),
    "swap": (1024, 1024),
    "ufs": (8192, 1376),
    "ufs2-group": (24576, 512),
}


@pytest.fixture(scope="module")
def disks(tools, tmp_path_factory):
    made = {}
    for kind, command in MAKE.items():
        tools.need(command[0])
        disk = tmp_path_factory.mktemp("hostile") / "disk.img"
        disk.write_bytes(bytes(SIZE if kind != "fat32" else 40 * MIB))
        disk.chmod(0o600)
        files = [tmp_path_factory.mktemp("files")] if command[0] == "makefs" else []
        tools.run(*command, disk, *files)
        made[kind] = memoryview(disk.read_bytes())
    return made


ODD = st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\1\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80"])


@settings(max_examples=150)
@given(data=st.data(), kind=st.sampled_from(sorted(MAKE)))
def test_any_bytes_give_an_answer(disks, data, kind):
    disk = disks[kind]
    start, length = next(PLACES[k] for k in (kind, kind[:4], kind[:3]) if k in PLACES)
    altered = bytearray(disk[:MIB])
    for _ in range(data.draw(st.integers(1, 4))):
        at = start + data.draw(st.integers(0, length - 1))
        what = data.draw(st.one_of(ODD, st.binary(min_size=1, max_size=8)))
        altered[at : at + len(what)] = what
    cut = data.draw(st.one_of(st.just(len(disk)), st.integers(0, len(disk))))

    def read_at(offset, count):
        whole = altered if offset + count <= MIB else disk
        return bytes(whole[offset : min(offset + count, cut)])

    place = PartitionPlace("disk", 0, cut, is_all=True)
    found = identifying.find_usage(read_at, place)
    assert found.end <= place.sectors
    assert all(0 <= low < high <= found.end for low, high in found.used)
    assert list(found.used) == merge(found.used)


@settings(max_examples=200)
@given(data=st.binary(max_size=4096), kind=st.sampled_from(["xfs", "ntfs", "exfat", "f2fs"]))
def test_any_superblock_gives_its_end_or_an_error(data, kind):
    try:
        extent = superblocks.find_extent(kind, lambda at, count: data[at : at + count])
    except FilesystemError:
        return
    assert extent.end >= 0


MAP = b"""# Domain logfile created by unset_name v0.3.23
# Source: /dev/loop0
# Offset: 0x00000000
# current_pos  current_status
0x01000000     ?
#      pos        size  status
0x00000000  0x00006000  +
0x00006000  0x0000A000  ?
0x00010000  0x00008000  +
0x00018000  0x00FE8000  ?
"""


def test_a_map_tells_what_is_free():
    assert list(partclone.parse(MAP, 1 << 24)) == [(0x30, 0x80), (0xC0, 0x8000)]


@given(cut=st.integers(0, len(MAP) - 1))
def test_a_map_that_is_cut_short_is_an_error(cut):
    with pytest.raises(FilesystemError, match="map"):
        list(partclone.parse(MAP[:cut], 1 << 24))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"0x00010000  0x00008000", b"0x00011000  0x00007000"),  # a hole
        (b"0x00010000  0x00008000", b"0x0000F000  0x00009000"),  # an overlap
        (b"0x01000000     ?", b"0x02000000     ?"),  # reaches less far than it says
        (b"0x00018000  0x00FE8000  ?\n", b""),
        (b"+", b"-"),
        (b"0x00006000", b"0x0000600000000000000"),
    ],
)
def test_a_map_that_is_not_of_one_piece_is_an_error(old, new):
    with pytest.raises(FilesystemError, match="map"):
        list(partclone.parse(MAP.replace(old, new), 1 << 24))


@pytest.mark.parametrize("end", [1 << 23, (1 << 24) + (2 << 20)])
def test_a_map_that_ends_elsewhere_than_the_filesystem_is_an_error(end):
    with pytest.raises(FilesystemError, match="ends at byte 16777216"):
        list(partclone.parse(MAP, end))


@settings(max_examples=200)
@given(place=st.integers(0, len(MAP) - 1), byte=st.binary(min_size=1, max_size=3))
def test_an_altered_map_gives_ranges_or_an_error(place, byte):
    altered = MAP[:place] + byte + MAP[place + len(byte) :]
    try:
        free = list(partclone.parse(altered, 1 << 24))
    except FilesystemError:
        return
    assert all(0 <= start <= end <= 1 << 15 for start, end in free)


def test_too_many_ranges_are_an_error_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr(ranges, "RANGES_MAX", 1000)
    endless = ((at, at + 1) for at in iter(lambda: 2, 3))
    with pytest.raises(FilesystemError, match="in too many pieces"):
        merge(endless)
