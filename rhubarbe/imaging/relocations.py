"""What in the data depends on where a slice is restored: BSD labels and LILO's addresses.

Each relocation says where in the image such a place is; adding the first sector of the slice
makes it true on the target. Source: the format of Emulab's imagezip, the BSD disklabel, LILO.
"""

import functools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rhubarbe.disk import bsdlabel
from rhubarbe.disk.bsdlabel import xor_words
from rhubarbe.ndz.header import SECTOR, Buffer, ChunkHeader
from rhubarbe.ndz.relocations import (
    FREEBSD_LABEL,
    LILO_ADDRESS,
    LILO_CHECKSUM,
    LILO_MAP,
    LILO_TABLE,
    NONE,
    OPENBSD_LABEL,
    SHORT_SECTOR,
    position,
    short_end,
    window,
)

_LILO_LINEAR, _LILO_LBA32, _LILO_NO_COUNT = 0x40, 0x20, 0x10
LILO_MAP_ENTRIES = 102
LILO_SEED = 0xABCD


def data_end(header: ChunkHeader) -> int:
    """Return the byte past the last data of a chunk."""
    end = header.regions[-1].end * SECTOR if header.regions else 0
    short = short_end(header)
    return end if short is None else min(end, short)


@dataclass(frozen=True, slots=True)
class Slice:
    """The slice: its first sector, and its size in bytes, None where nothing bounds it."""

    start: int
    size: int | None


NO_SLICE = Slice(0, None)
"""A whole disk, a file or a pipe: BSD labels, which depend on their slice, stay as they are."""


def changes_any(header: ChunkHeader) -> bool:
    """Whether a chunk has relocations that can change its data."""
    return any(each.kind in _KNOWN for each in header.relocations)


def unknown_kinds(header: ChunkHeader) -> set[int]:
    """Return the kinds of relocation that are not known, which are left alone."""
    return {each.kind for each in header.relocations} - {NONE, SHORT_SECTOR} - _KNOWN


def relocated(pieces: Iterator[Buffer], header: ChunkHeader, place: Slice) -> Iterator[Buffer]:
    """Yield the inflated data of a chunk as it is true for a slice, in pieces of any length.

    No more of it is held than the relocations that overlap are about: at most 1024 bytes of each.
    """
    clusters = iter(_clusters(header, place))
    cluster = next(clusters, None)
    held, at = bytearray(), 0
    for piece in pieces:
        held += piece
        while cluster and cluster.end <= at + len(held):
            for _, kind, start, point in sorted(cluster.changes):  # in the order of the header
                if kind == LILO_CHECKSUM:
                    _sum_lilo_table(held, start - at, point - at)
                else:
                    _CHANGES[kind](held, start - at, place)
            cluster = next(clusters, None)
        ready = min(len(held), max(cluster.start - at, 0)) if cluster else len(held)
        if ready:
            yield held[:ready]
        del held[:ready]
        at += ready
    if held:
        yield held


@dataclass(slots=True)
class _Cluster:
    """Relocations about bytes that overlap.

    Of each: number in the header, kind, first byte that it is about, byte to which it points.
    """

    start: int
    end: int
    changes: list[tuple[int, int, int, int]]


def _clusters(header: ChunkHeader, place: Slice) -> list[_Cluster]:
    left_alone = _LABELS if place is NO_SLICE else frozenset()
    abouts = sorted(
        (*about, number, relocation)
        for number, relocation in enumerate(header.relocations)
        if relocation.kind not in left_alone and (about := window(header, relocation))
    )
    clusters: list[_Cluster] = []
    for start, end, number, relocation in abouts:
        if not clusters or start >= clusters[-1].end:
            clusters.append(_Cluster(start, end, []))
        clusters[-1].end = max(clusters[-1].end, end)
        point = position(header, relocation) or 0
        clusters[-1].changes.append((number, relocation.kind, start, point))
    return clusters


def _relocate_label(data: bytearray, at: int, place: Slice, *, is_openbsd: bool = False) -> None:
    limit = None if place.size is None else place.size // SECTOR
    (count,) = struct.unpack_from("<H", data, at + bsdlabel.COUNT)
    for number in range(min(count, bsdlabel.PARTITIONS_MAX)):
        if is_openbsd and (number == bsdlabel.RAW or number >= bsdlabel.OPENBSD_OWN):
            continue
        entry = at + bsdlabel.ENTRIES + number * bsdlabel.ENTRY.size
        size, offset = struct.unpack_from("<II", data, entry)
        if size == 0:
            continue
        if limit is not None:
            size = limit if number == bsdlabel.RAW else max(min(size, limit - offset), 0)
        words = size & 0xFFFFFFFF, offset + place.start & 0xFFFFFFFF
        struct.pack_into("<II", data, entry, *words)
    struct.pack_into("<H", data, at + bsdlabel.CHECKSUM, 0)
    end = at + bsdlabel.ENTRIES + min(count, bsdlabel.PARTITIONS_MAX) * bsdlabel.ENTRY.size
    struct.pack_into("<H", data, at + bsdlabel.CHECKSUM, xor_words(data[at:end]))


def is_wide(device: int) -> bool:
    """Whether a LILO address has its upper 8 bits where others have a count of sectors.

    So says bit 0x10 (LILO 21), which means something else beside 0x40, and so do 0x20 and 0x40
    together (LILO 22). 0x80 stands for a hard disk.
    """
    if device & _LILO_LINEAR:
        return bool(device & _LILO_LBA32)
    return bool(device & _LILO_NO_COUNT)


def moved(address: bytes | bytearray, distance: int) -> bytes:
    """Return a LILO address moved by so many sectors: bytes sector, track, device, head, count.

    Sector, track and head are the lower 24 bits of a linear address, the count may be its upper 8.
    """
    sector, track, device, head, count = address
    linear = sector | track << 8 | head << 16
    if is_wide(device):
        linear |= count << 24
    sector, track, head, top = (linear + distance & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes((sector, track, device, head, top if is_wide(device) else count))


def _relocate_address(data: bytearray, at: int, place: Slice) -> None:
    data[at : at + 5] = moved(data[at : at + 5], place.start)


def _relocate_map(data: bytearray, at: int, place: Slice) -> None:
    for entry in range(at, at + LILO_MAP_ENTRIES * 5, 5):
        if not any(data[entry : entry + 5]):
            return
        _relocate_address(data, entry, place)


def _sum_lilo_table(data: bytearray, start: int, at: int) -> None:
    """Put the checksum of the table at its place: all words and the seed together give zero."""
    struct.pack_into("<H", data, at, 0)
    struct.pack_into("<H", data, at, xor_words(data[start : start + LILO_TABLE], LILO_SEED))


_LABELS = frozenset({FREEBSD_LABEL, OPENBSD_LABEL})
_CHANGES: dict[int, Callable[[bytearray, int, Slice], None]] = {
    FREEBSD_LABEL: _relocate_label,
    OPENBSD_LABEL: functools.partial(_relocate_label, is_openbsd=True),
    LILO_ADDRESS: _relocate_address,
    LILO_MAP: _relocate_map,
}
_KNOWN = frozenset({*_CHANGES, LILO_CHECKSUM})
