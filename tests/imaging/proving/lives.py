"""What a disk may have been before: superblocks where the system's tools look for them.

Each life is made on an empty file as large as the place it is to be found in, by the real tools
where they work without their kernel's driver, else by what is documented of the format. Then what
is not a hole of that file is laid over the place.
"""

import struct
import zlib

from proving.places import MIB, data_of, run, sparse

SECTOR = 512


def _at(file, offset, data):
    size = file.seek(0, 2)
    place = offset if offset >= 0 else size + offset
    if place >= 0 and place + len(data) <= size:
        file.seek(place)
        file.write(data)


def _sum32(block):
    total = sum(struct.unpack(f"<{len(block) // 4}I", block))
    return ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF


def _md1(at, minor, data):
    """Return a superblock of version 1 of a member of a mirror, for a place in sectors."""
    block = bytearray(512)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[16:32] = bytes(range(1, 17))
    block[32:64] = f"oldhost:{minor}".encode().ljust(32, b"\0")
    struct.pack_into("<QiI", block, 64, 1_700_000_000, 1, 0)
    struct.pack_into("<QII", block, 80, 2048, 0, 2)
    struct.pack_into("<QQQ", block, 128, data, 2048, at)
    block[168:184] = bytes(range(33, 49))
    struct.pack_into("<QQQ", block, 192, 1_700_000_100, 17, (1 << 64) - 1)
    struct.pack_into("<I", block, 220, 128)
    struct.pack_into("<128H", block, 256, 0, 1, *[0xFFFF] * 126)
    struct.pack_into("<I", block, 216, _sum32(bytes(block)))
    return bytes(block)


def _md090(at):
    words = [0] * 1024
    words[0:4] = [0xA92B4EFC, 0, 90, 0]
    words[5:12] = [0x01020304, 1_700_000_000, 1, at // 2, 2, 2, 0]
    words[13:16] = [0x05060708, 0x090A0B0C, 0x0D0E0F10]
    words[32:36] = [1_700_000_100, 1, 2, 2]
    words[39] = 17
    for disk in range(2):
        words[128 + 32 * disk : 133 + 32 * disk] = [disk, 8, 1 + 16 * disk, disk, 6]
    words[992:997] = [0, 8, 1, 0, 6]
    words[38] = _sum32(struct.pack("<1024I", *words))
    return struct.pack("<1024I", *words)


def mirrored(device):
    """Make what is on a device the half of a mirror, by a superblock at its end."""
    with open(device, "r+b") as file:  # noqa: PTH123
        late = (file.seek(0, 2) // SECTOR - 16) & ~7
        _at(file, late * SECTOR, _md1(late, 0, 0))


def raid(path):
    """A member of mirrors of md, of each version, and of three makers' controllers."""
    sectors = path.stat().st_size // SECTOR
    old, late = (sectors & ~127) - 128, (sectors - 16) & ~7
    with path.open("r+b") as file:
        _at(file, 0, _md1(0, 1, 2048))
        _at(file, 4096, _md1(8, 2, 2048))
        _at(file, late * SECTOR, _md1(late, 0, 0))
        _at(file, old * SECTOR, _md090(old))
        _at(file, -3087 * SECTOR, b"Promise Technology, Inc.")
        _at(file, -255 * SECTOR, b"Promise Technology, Inc.")
        _at(file, -11 * SECTOR, struct.pack("<I", 0x5A7816F3))  # HighPoint
        intel = struct.pack("<6I2B", 0, 512, 1, 1, 0, 0, 1, 0)
        _at(file, -2 * SECTOR, b"Intel Raid ISM Cfg Sig. 1.1.00\0\0" + intel)
        _at(file, -SECTOR, b"$XIDE$")  # LSI


def volumes(path):
    """LVM, ZFS, LUKS's second headers, swap, iso9660, VMFS; btrfs with its copies if it fits."""
    size = path.stat().st_size
    if size >= 110 * MIB:
        run("mkfs.btrfs", "-qfK", path)
    label = bytearray(512)
    label[:8], label[24:32] = b"LABELONE", b"LVM2 001"
    struct.pack_into("<Q", label, 8, 1)
    struct.pack_into("<I", label, 20, 32)
    label[32:64] = b"oldvolumeoldvolumeoldvolumeoldvo"
    crc = zlib.crc32(bytes(label[20:]), 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    struct.pack_into("<I", label, 16, crc)
    uberblock = struct.pack("<QQQQQ", 0x00BAB10C, 5000, 100, 12345, 1_700_000_000)
    with path.open("r+b") as file:
        _at(
            file, 0, b"LUKS\xba\xbe\0\1".ljust(168, b"\0") + b"11111111-2222-3333-4444-555555555555"
        )
        _at(file, SECTOR, bytes(label))
        _at(file, 1024, struct.pack("<III", 1, size // 4096 - 1, 0) + bytes(range(1, 17)))
        _at(file, 4086, b"SWAPSPACE2")
        for place in (1 << 14, 1 << 20, 1 << 22):
            second = b"SKUL\xba\xbe\0\2" + struct.pack(">Q", 16384)
            _at(file, place, second.ljust(256, b"\0") + struct.pack(">Q", place))
        _at(file, 32768, b"\1CD001\1".ljust(40, b" ") + b"OLD_DISC".ljust(2008, b"\0"))
        _at(file, 2 << 20, b"\x5e\xf1\xab\x2f")  # VMFS
        whole = size // (256 << 10) * (256 << 10)
        for front in (0, 256 << 10, whole - (512 << 10), whole - (256 << 10)):
            for number in range(128):
                _at(file, front + (128 << 10) + number * 1024, uberblock)


def systems(path):
    """UFS, which may be at three places, and a GPT with both its tables, if there is room."""
    half = path.stat().st_size // 2 // SECTOR
    if half > 3000:
        script = (
            f"label: gpt\nstart=2048, size={half - 2048}, name=OLDSECRET\n"
            f"start={half}, name=OLDHOME\n"
        )
        run("sfdisk", "-q", path, input=script)
    with path.open("r+b") as file:
        for place in (8 << 10, 64 << 10, 256 << 10):
            _at(file, place + 1372, struct.pack("<I", 0x19540119))  # UFS2


LIVES = {"raid": raid, "volumes": volumes, "systems": systems}
FOUND = {
    "raid": {"linux_raid_member", "promise_fasttrack_raid_member", "isw_raid_member",
             "lsi_mega_raid_member", "hpt45x_raid_member"},
    "volumes": {"btrfs", "LVM2_member", "crypto_LUKS", "swap", "iso9660", "zfs_member",
                "VMFS"},
    "systems": {"gpt", "PMBR", "ufs"},
}  # fmt: skip
"""What wipefs is to find of each: else it proves nothing that it is gone."""


class Former:
    """Lives, made once for each size of place."""

    def __init__(self, directory):
        self._directory, self._made = directory, {}

    def on(self, path, start, size, life):
        """Lay a life over a range of a file, in bytes."""
        if size < MIB // 4:  # no room for them
            return
        if (life, size) not in self._made:
            empty = sparse(self._directory / "life", size)
            LIVES[life](empty)
            self._made[life, size] = list(data_of(empty))
            empty.unlink()
        with path.open("r+b") as file:
            for at, data in self._made[life, size]:
                file.seek(start + at)
                file.write(data)
