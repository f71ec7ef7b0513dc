"""ELF files, made as small as can be, and a stand-in for Debian's mirror."""

import struct

import pytest

from rhubarbe.ramdisk_builder import elf


def _segment(kind, offset, address, size):
    return struct.pack("<IIQQQQQQ", kind, 4, offset, address, address, size, size, 1)


def make_elf(needed=(), interpreter="", modinfo=()):
    """Return a 64-bit ELF file that names these libraries, that loader, or says this of itself."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    places = [strings.index(name.encode() + b"\0") for name in needed]
    loader = interpreter.encode() + b"\0"
    info = b"".join(f"{key}={value}".encode() + b"\0" for key, value in modinfo)
    base, start = 0x400000, 64 + 3 * 56
    tags = [(elf.DT_NEEDED, place) for place in places]
    dynamic_at = start + len(strings) + len(loader)
    tags += [(elf.DT_STRTAB, base + start), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    info_at = dynamic_at + len(dynamic)
    names = b"\0.modinfo\0.shstrtab\0"
    names_at = info_at + len(info)
    sections_at = names_at + len(names)
    section = struct.Struct("<IIQQQQIIQQ")
    sections = (
        section.pack(*[0] * 10)
        + section.pack(1, 1, 0, 0, info_at, len(info), 0, 0, 1, 0)
        + section.pack(10, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    )
    segments = (
        _segment(elf.PT_LOAD, 0, base, sections_at)
        + (_segment(elf.PT_INTERP, start + len(strings), 0, len(loader)) if interpreter else b"")
        + (_segment(elf.PT_DYNAMIC, dynamic_at, 0, len(dynamic)) if needed else b"")
    )
    count = len(segments) // 56
    header = struct.pack("<4sBBBB8xHHI", elf.MAGIC, 2, 1, 1, 0, 3, 62, 1)
    header += struct.pack("<QQQIHHHHHH", base, 64, sections_at, 0, 64, 56, count, 64, 3, 2)
    body = strings + loader + dynamic + info + names + sections
    return header + segments.ljust(start - 64, b"\0") + body


@pytest.fixture(name="make_elf")
def _make_elf():
    return make_elf
