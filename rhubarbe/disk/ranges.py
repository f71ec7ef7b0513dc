"""Ranges of sectors, blocks or bits, and what is made of them."""

import re
from collections.abc import Iterable
from itertools import islice

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.reading import SECTOR

RANGES_MAX = 4_000_000
"""More of them would take the memory that a node's ramdisk has: half a GiB."""

Range = tuple[int, int]
"""(start, end)."""


def merge(ranges: Iterable[Range], gap: int = 0) -> list[Range]:
    """Return the ranges in order, joined where they touch or are at most `gap` apart."""
    merged: list[Range] = []
    for start, end in sorted(bounded(ranges)):
        if start >= end:
            continue
        if merged and start <= merged[-1][1] + gap:
            if end > merged[-1][1]:
                merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def bounded(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges; raise FilesystemError where they are too many to be held in memory."""
    held = list(islice(ranges, RANGES_MAX + 1))
    if len(held) > RANGES_MAX:
        raise FilesystemError("it is in too many pieces to be told apart")
    return held


def gaps(inner: Iterable[Range], outer: Iterable[Range]) -> list[Range]:
    """Return what of the outer ranges the inner ones leave, both of them ascending and apart."""
    found: list[Range] = []
    position = iter([*inner, (1 << 62, 1 << 62)])
    start, stop = next(position)
    for low, high in outer:
        reach = low
        while start < high:
            if start > reach:
                found.append((reach, start))
            reach = max(reach, stop)
            if stop > high:  # it takes something of the next one, too
                break
            start, stop = next(position)
        if reach < high:
            found.append((reach, high))
    return found


def to_sectors(ranges: Iterable[Range], unit_bytes: int, offset: int = 0) -> list[Range]:
    """Turn ranges of clusters or blocks of `unit_bytes` into sectors, `offset` sectors further."""
    factor = unit_bytes // SECTOR
    return [(start * factor + offset, end * factor + offset) for start, end in ranges]


_SET_BITS = re.compile("1+")


def set_bits(bitmap: bytes, count: int) -> list[Range]:
    """Return the runs (start, end) of bits that are set among the first `count`.

    Bit i is bit i % 8, the lowest first, of byte i // 8.
    """
    number = int.from_bytes(bitmap[: -(-count // 8)], "little") & ((1 << count) - 1)
    if number == 0:
        return []
    if number == (1 << count) - 1:
        return [(0, count)]
    text = f"{number:b}"[::-1]
    return [match.span() for match in _SET_BITS.finditer(text)]
