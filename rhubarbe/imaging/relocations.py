"""What in the data depends on where a slice is restored: BSD labels and LILO's addresses.

Each relocation says where in the image such a place is; adding the first sector of the slice
makes it true on the target. Source: the format of Emulab's imagezip, the BSD disklabel, LILO.
"""

import struct

from rhubarbe.ndz.header import SECTOR, ChunkHeader, Relocation

NONE, FREEBSD_LABEL, OPENBSD_LABEL, LILO_ADDRESS, LILO_MAP, LILO_CHECKSUM, SHORT_SECTOR = range(7)

_LABEL_CHECKSUM = 136
_LABEL_COUNT = 138
_LABEL_PARTITIONS = 148
_LABEL_ENTRY = 16
_RAW_PARTITION = 2
_OPENBSD_OWN_PARTITIONS = 8

_LILO_LBA32_NO_COUNT = 0x60
_LILO_MAP_ENTRIES = 102
_LILO_TABLE = 1024
_LILO_TABLE_BEFORE_CHECKSUM = 990
_LILO_SEED = 0xABCD


def short_end(header: ChunkHeader) -> int | None:
    """Return the byte where the image ends inside a sector; None where it ends with one."""
    for relocation in header.relocations:
        if relocation.kind == SHORT_SECTOR:
            return relocation.sector * SECTOR + relocation.size
    return None


def data_end(header: ChunkHeader) -> int:
    """Return the byte past the last data of a chunk."""
    end = header.regions[-1].end * SECTOR if header.regions else 0
    short = short_end(header)
    return end if short is None else min(end, short)


def relocate(data: bytearray, header: ChunkHeader, start: int, size: int | None) -> list[int]:
    """Make the inflated data of a chunk true for a slice at sector `start`, `size` bytes long.

    Returns the kinds of relocation that are not known, which are left alone.
    """
    unknown = []
    for relocation in header.relocations:
        at = _position(header, relocation)
        if relocation.kind in {NONE, SHORT_SECTOR} or at is None:
            continue
        if relocation.kind in {FREEBSD_LABEL, OPENBSD_LABEL}:
            is_openbsd = relocation.kind == OPENBSD_LABEL
            limit = None if size is None else size // SECTOR
            _relocate_label(data, at, start, limit, is_openbsd=is_openbsd)
        elif relocation.kind == LILO_ADDRESS:
            _relocate_address(data, at, start)
        elif relocation.kind == LILO_MAP:
            _relocate_map(data, at, start)
        elif relocation.kind == LILO_CHECKSUM:
            _sum_lilo_table(data, at)
        else:
            unknown.append(relocation.kind)
    return unknown


def _position(header: ChunkHeader, relocation: Relocation) -> int | None:
    """Return where in the chunk's data the relocation points, None if not in it."""
    before = 0
    for region in header.regions:
        if region.start <= relocation.sector < region.end:
            return (before + relocation.sector - region.start) * SECTOR + relocation.offset
        before += region.size
    return None


def _relocate_label(
    data: bytearray, at: int, start: int, limit: int | None, *, is_openbsd: bool
) -> None:
    (count,) = struct.unpack_from("<H", data, at + _LABEL_COUNT)
    for number in range(min(count, 16)):
        if is_openbsd and (number == _RAW_PARTITION or number >= _OPENBSD_OWN_PARTITIONS):
            continue
        entry = at + _LABEL_PARTITIONS + number * _LABEL_ENTRY
        size, offset = struct.unpack_from("<II", data, entry)
        if size == 0:
            continue
        if limit is not None:
            size = limit if number == _RAW_PARTITION else max(min(size, limit - offset), 0)
        struct.pack_into("<II", data, entry, size, offset + start)
    struct.pack_into("<H", data, at + _LABEL_CHECKSUM, 0)
    end = at + _LABEL_PARTITIONS + min(count, 16) * _LABEL_ENTRY
    struct.pack_into("<H", data, at + _LABEL_CHECKSUM, _xor_words(data[at:end], 0))


def _xor_words(data: bytearray, seed: int) -> int:
    for (word,) in struct.iter_unpack("<H", data):
        seed ^= word
    return seed


def _relocate_address(data: bytearray, at: int, start: int) -> None:
    """Move one LILO address: bytes sector, track, device, head, and a count of sectors.

    Sector, track and head are the lower 24 bits of a linear address; where the flags in the
    device say so, the count is its upper 8.
    """
    sector, track, device, head, count = data[at : at + 5]
    address = sector | track << 8 | head << 16
    is_wide = device & _LILO_LBA32_NO_COUNT == _LILO_LBA32_NO_COUNT
    address = (address | count << 24 if is_wide else address) + start
    sector, track, head, top = (address & 0xFFFFFFFF).to_bytes(4, "little")
    data[at : at + 5] = bytes((sector, track, device, head, top if is_wide else count))


def _relocate_map(data: bytearray, at: int, start: int) -> None:
    for entry in range(at, at + _LILO_MAP_ENTRIES * 5, 5):
        if not any(data[entry : entry + 5]):
            return
        _relocate_address(data, entry, start)


def _sum_lilo_table(data: bytearray, at: int) -> None:
    start = at - _LILO_TABLE_BEFORE_CHECKSUM
    if start < 0 or start + _LILO_TABLE > len(data):
        return
    struct.pack_into("<H", data, at, 0)
    struct.pack_into("<H", data, at, _xor_words(data[start : start + _LILO_TABLE], _LILO_SEED))
