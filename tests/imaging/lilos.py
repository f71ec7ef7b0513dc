"""LILO's boot sector, table and maps made byte by byte, from what its own headers say of them."""

import struct

TABLE, COMMAND_LINE, KEYBOARD = 101, 100, 103
SECOND_STAGE = (200, 201, 202)
MESSAGE_MAP, KERNEL_MAP, RAMDISK_MAP = 110, 120, 130
KERNEL = 4000
KERNEL_SECTORS = 250
"""More than two sectors of a map can hold: 101 in each, and the address of the next one."""


def address(sector, start, device=0xE0, count=1):
    """LBA32 of LILO 22 unless told otherwise: 32 bits of a sector of the disk, no count."""
    low, middle, high, top = (sector + start).to_bytes(4, "little")
    is_wide = device in {0xE0, 0xB0}
    return bytes((low, middle, device, high, top if is_wide else count))


def xor(data, seed=0xABCD):
    for (word,) in struct.iter_unpack("<H", data):
        seed ^= word
    return seed


def made_lilo(start, *, device=0xE0, is_checksum_first=True):
    """Return sector -> bytes of a LILO in a slice that begins at a sector of the disk."""

    def at(sector):
        return address(sector, start, device)

    boot = bytearray(512)
    boot[6:14] = b"LILO" + struct.pack("<HBB", 1, 21, 4)
    boot[24:29], boot[29:34], boot[34:39] = at(TABLE), at(TABLE + 1), at(COMMAND_LINE)
    boot[40:42] = struct.pack("<H", 300)
    boot[42:47], boot[47:52] = at(MESSAGE_MAP), at(KEYBOARD)
    boot[52:67] = b"".join(map(at, SECOND_STAGE))
    boot[510:512] = b"\x55\xaa"
    entries = [
        _entry(b"linux", at(KERNEL_MAP), at(RAMDISK_MAP)),
        _entry(b"old", at(KERNEL_MAP)),
        *[_entry(b"l%d" % number, at(KERNEL_MAP)) for number in range(2, 15)],
    ]
    head = bytes(2 if is_checksum_first else 0)
    table = bytearray((head + b"".join(entries)).ljust(1024, b"\0"))
    struct.pack_into("<H", table, 0 if is_checksum_first else 988, xor(table))
    assert xor(table) == 0
    sectors = {0: bytes(boot), TABLE: bytes(table[:512]), TABLE + 1: bytes(table[512:])}
    sectors[MESSAGE_MAP] = at(104).ljust(512, b"\0")
    sectors[RAMDISK_MAP] = b"".join(map(at, range(6000, 6050))).ljust(512, b"\0")
    kernel = [at(sector) for sector in range(KERNEL, KERNEL + KERNEL_SECTORS)]
    places = [KERNEL_MAP, KERNEL_MAP + 1, KERNEL_MAP + 2]
    for number, place in enumerate(places):
        part = kernel[101 * number : 101 * (number + 1)]
        part += [at(place + 1)] if place != places[-1] else []
        sectors[place] = b"".join(part).ljust(512, b"\0")
    return sectors


def _entry(name, image, ramdisk=None):
    size = struct.pack("<I", 25600 if ramdisk else 0)
    # Without a RAM disk its address is whatever was there before.
    fields = name.ljust(32, b"\0") + size + (ramdisk or b"noise") + image
    return fields.ljust(52, b"\0")
