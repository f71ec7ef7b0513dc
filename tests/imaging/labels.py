"""BSD disklabels made byte by byte, from what FreeBSD's manual page disklabel(5) says of them."""

import struct


def made_label(*entries, sector_bytes=512):
    """Return a sector with the label of these (first sector, number of sectors)."""
    data = bytearray(sector_bytes)
    struct.pack_into("<I", data, 0, 0x82564557)
    struct.pack_into("<I", data, 40, sector_bytes)
    struct.pack_into("<I", data, 132, 0x82564557)
    struct.pack_into("<H", data, 138, len(entries))
    for number, (start, size) in enumerate(entries):
        struct.pack_into("<II", data, 148 + 16 * number, size, start)
    total = 0
    for (word,) in struct.iter_unpack("<H", data[: 148 + 16 * len(entries)]):
        total ^= word
    struct.pack_into("<H", data, 136, total)
    return bytes(data)
