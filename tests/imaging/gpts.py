"""The start of a disk with a GPT whose checksums are true."""

import struct
import zlib


def gpt(runs, sector, disk_sectors):
    """Return header and entries, the bytes from sector 1 on; `runs` are (start, size)."""
    entries = b"".join(
        struct.pack("<16s16sQQ80x", b"t" * 16, b"u" * 16, run[0], sum(run) - 1) for run in runs
    ).ljust(128 * 128, b"\0")
    usable = 2 + len(entries) // sector
    places = (1, disk_sectors - 1, usable, disk_sectors - usable)
    rest = struct.pack("<QQQQ16sQIII", *places, b"d" * 16, 2, 128, 128, zlib.crc32(entries))
    header = struct.pack("<8sIIII", b"EFI PART", 0x10000, 92, 0, 0) + rest
    check = struct.pack("<I", zlib.crc32(header))
    return (header[:16] + check + header[20:]).ljust(sector, b"\0") + entries
