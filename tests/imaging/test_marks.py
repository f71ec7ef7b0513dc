"""What a partition is taken for, beside what blkid takes it for."""

import struct
import subprocess
from functools import cache

import pytest

from rhubarbe.imaging.filesystems.marks import identify
from rhubarbe.ndz.check import check_file

MIB = 1 << 20
SIZE = 64 * MIB
MAKE = {
    "ext": ["mke2fs", "-qF", "-t", "ext4", "-E", "nodiscard"],
    "fat": ["mkfs.vfat"],
    "swap": ["mkswap", "-q"],
    "ntfs": ["mkfs.ntfs", "-qFf"],
    "exfat": ["mkfs.exfat"],
    "f2fs": ["mkfs.f2fs", "-qf", "-t0"],
}


def kinds_of(disk):
    with disk.open("rb") as file:

        def read_at(offset, count):
            file.seek(offset)
            return file.read(count)

        return identify(read_at, disk.stat().st_size // 512)


def blkid(disk):
    """The type, or "ambivalent", or nothing, as blkid tells it."""
    command = ["blkid", "-p", "-o", "value", "-s", "TYPE", disk]
    done = subprocess.run(command, capture_output=True, text=True)
    return "ambivalent" if done.returncode == 8 else done.stdout.strip()


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(SIZE)
    path.chmod(0o600)
    return path


def put(disk, at, data):
    with disk.open("r+b") as file:
        file.seek(at if at >= 0 else SIZE + at)
        file.write(data)


def md(version, at):
    """The superblock of a RAID1 member, of version 1.x, as far as it matters to be known by."""
    block = bytearray(512)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    struct.pack_into("<Q", block, 144, at // 512)
    struct.pack_into("<I", block, 220, 0)
    total = sum(struct.unpack("<64I", block[:256]))
    struct.pack_into("<I", block, 216, (total & 0xFFFFFFFF) + (total >> 32))
    return bytes(block)


LEFT = {
    "btrfs": [(65536 + 64, b"_BHRfS_M")],
    "iso9660": [(32769, b"CD001")],
    "jfs": [(32768, b"JFS1")],
    "reiserfs": [(65536 + 52, b"ReIsEr2Fs")],
    "gfs2": [(65536, struct.pack(">I", 0x01161970))],
    "ufs": [(65536 + 1372, struct.pack("<I", 0x19540119))],
    "zfs": [(at + 131072 + n * 1024, struct.pack("<Q", 0x00BAB10C))
            for at in (-2 * 262144, -262144) for n in range(64)],
}  # fmt: skip
CONTAINERS = {
    "luks": (32768, b"SKUL\xba\xbe"),
    "lvm": (1536, b"LABELONE"),
    "bcache": (4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    "bitlocker": (424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")),
    "RAID member (md)": (-8192, md("1.0", SIZE - 8192)),
    "RAID member": (-1024, b"Intel Raid ISM Cfg Sig. 1.3"),
}


@pytest.mark.parametrize("kind", MAKE)
def test_one_kind_is_known(kind, disk, tools):
    tools.need(MAKE[kind][0])
    tools.run(*MAKE[kind], disk)
    assert kinds_of(disk) == (kind,)


@pytest.mark.parametrize("former", LEFT)
def test_a_mark_that_is_left_over_makes_it_stored_raw(
    former, disk, tools, programs, tmp_path, capsys
):
    tools.need(MAKE["ext"][0])
    tools.run(*MAKE["ext"], disk)
    for at, data in LEFT[former]:
        put(disk, at, data)
    assert kinds_of(disk) == ("ext", former)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert f"bears the marks of ext and {former}: stored raw" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == SIZE


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_container_is_stored_raw_whatever_is_seen_in_it(
    kind, disk, tools, programs, tmp_path, capsys
):
    tools.need(MAKE["ext"][0])
    tools.run(*MAKE["ext"], disk)
    put(disk, *CONTAINERS[kind])
    assert kinds_of(disk) == (kind,)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert f"{kind}: stored raw" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == SIZE


@pytest.mark.parametrize("version", ["0.90", "1.0", "1.1", "1.2"])
def test_a_raid_member_is_known_by_what_mdadm_writes(version, disk, tools):
    """By blkid too: what it takes for a member is one here."""
    at = {"0.90": SIZE - 65536, "1.0": SIZE - 8192, "1.1": 0, "1.2": 4096}[version]
    old = struct.pack("<4I", 0xA92B4EFC, 0, 90, 0).ljust(4096, b"\0")
    put(disk, at, old if version == "0.90" else md(version, at))
    assert kinds_of(disk) == ("RAID member (md)",)
    tools.need("blkid")
    assert blkid(disk) == "linux_raid_member"


@pytest.fixture(scope="module")
def made(tools, tmp_path_factory):
    """What the mkfs of each kind writes: (where, bytes)."""

    @cache
    def made(kind):
        tools.need(MAKE[kind][0])
        disk = tmp_path_factory.mktemp(kind) / "disk.img"
        with disk.open("wb") as file:
            file.truncate(SIZE)
        disk.chmod(0o600)
        tools.run(*MAKE[kind], disk)
        data = disk.read_bytes()
        blocks = ((at, data[at : at + 512]) for at in range(0, SIZE, 512))
        return [(at, block) for at, block in blocks if any(block)]

    return made


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(first, second, marks=[] if first == "ntfs" else [pytest.mark.full])
        for first in MAKE
        for second in MAKE
    ],
)
def test_what_blkid_calls_ambivalent_is_not_trusted(first, second, disk, made, tools):
    """The second is made over the first, by copying what it writes: no tool wipes the former."""
    tools.need("blkid")
    with disk.open("r+b") as file:
        for at, block in [*made(first), *made(second)]:
            file.seek(at)
            file.write(block)
    found, kinds = blkid(disk), kinds_of(disk)
    if found == "ambivalent":
        assert len(kinds) > 1
    elif len(kinds) == 1:
        assert kinds[0] == {"vfat": "fat", "ext4": "ext"}.get(found, found)
