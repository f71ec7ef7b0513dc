"""What others' readers make of our images: by all that is known of them, and by zlib alone.

They look at nothing beyond the header, the regions and the deflated data: whatever else we put into
a chunk, seals and sizes of sectors, must not matter to them.
"""

import random
import struct
import zlib

import pytest
from proving.kinds import SMALL
from proving.proof import Source

CHUNK, AREA, SECTOR = 1 << 20, 4096, 512
MAGIC, SIZES = 0x69696969, {1: 36, 2: 36, 3: 344}


def restore(image, target):
    """Write an image onto a file of zeros, in the order of its chunks, as other readers do."""
    data, reach = image.read_bytes(), 0
    assert data
    assert not len(data) % CHUNK
    with target.open("r+b") as disk:
        for index, at in enumerate(range(0, len(data), CHUNK)):
            reach = _restore_chunk(data[at : at + CHUNK], index, reach, disk)


def _restore_chunk(chunk, index, reach, disk):
    """Write a chunk, which must begin where the one before ended; return where it ends."""
    magic, size, number, _, area, count = struct.unpack_from("<IIiiii", chunk)
    place = SIZES[magic - MAGIC]
    first, last, relocations = struct.unpack_from("<IIi", chunk, 24)
    assert (number, area, relocations) == (index, AREA, 0)
    assert first == reach <= last
    assert place + 8 * count <= AREA
    inflater = zlib.decompressobj()
    sectors = inflater.decompress(chunk[AREA : AREA + size])
    assert inflater.eof
    assert not inflater.unused_data
    taken, end = 0, first
    for region in range(count):
        start, length = struct.unpack_from("<II", chunk, place + 8 * region)
        assert length > 0
        assert end <= start
        end = start + length
        assert end <= last
        disk.seek(start * SECTOR)
        disk.write(sectors[taken * SECTOR : (taken + length) * SECTOR])
        taken += length
    assert taken * SECTOR == len(sectors)
    return last


def zeros(path, size):
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("level", ["-z0", "-z1", "-z3", "-z6"])
@pytest.mark.parametrize("version", ["", "-u0123456789abcdef0123456789abcdef"])
def test_noise_and_text_at_all_levels(programs, tmp_path, version, level):
    chance = random.Random(len(level + version))
    pieces = [chance.randbytes(700_000), b"all work and no play " * 90_000, bytes(400_000)]
    disk = tmp_path / "disk"
    disk.write_bytes(b"".join(pieces * 3)[: 8 << 20 & -SECTOR].ljust(9 << 20, b"\x01"))
    image = tmp_path / "image.ndz"
    options = [option for option in (version, level, "-r") if option]
    programs.zip(*options, disk, image)
    target = zeros(tmp_path / "target", disk.stat().st_size)
    restore(image, target)
    assert target.read_bytes() == disk.read_bytes()


@pytest.mark.full
@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("table", ["mbr", "logical", "gpt"])
@pytest.mark.parametrize("kind", ["ext4", "swap", "raw"])
def test_disks_are_restored_right_by_them(tools, tmp_path, kind, table, sector):
    tools.need("sfdisk", "sgdisk", "wipefs", "blkid", *SMALL[kind].needs)
    source = Source(tmp_path, SMALL[kind], table, sector)
    image = source.save(by_device=True)
    target = zeros(tmp_path / "target", source.disk.size)
    restore(image, target)
    assert not source.judge(target)
