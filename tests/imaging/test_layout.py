"""What of a disk is stored and what is left out, at the very edges."""

import struct

import pytest

from rhubarbe.imaging.layout import FIRST_EDGE, LAST_EDGE, MIN_FREE, Choice, plan
from rhubarbe.imaging.source import Source

FIRST, SECTORS = 2048, 65536


def entry(start, size):
    return struct.pack("<B3sB3sII", 0, bytes(3), 0xDA, bytes(3), start, size)


@pytest.fixture
def planned(tmp_path):
    """Plan the image of a disk of zeros with these partitions, of a kind that is stored whole."""

    def planned(*partitions):
        disk = tmp_path / "disk.img"
        table = b"".join(entry(start, size) for start, size in partitions).ljust(64, b"\0")
        disk.write_bytes(bytes(446) + table + b"\x55\xaa")
        with disk.open("r+b") as file:
            file.truncate(SECTORS * 512)
        with Source(str(disk)) as source:
            return plan(source, Choice())

    return planned


@pytest.mark.parametrize("more", [-2048, -1, 0, 1, MIN_FREE - 1])
def test_a_gap_no_larger_than_what_is_always_stored_of_its_ends_is_stored(planned, more):
    second = FIRST + 1 + FIRST_EDGE + LAST_EDGE + more
    layout = planned((FIRST, 1), (second, 1))
    assert layout.ranges[0] == (0, second + 1 + FIRST_EDGE)
    assert layout.blank == ([(FIRST + 1 + FIRST_EDGE, second - LAST_EDGE)] if more > 0 else [])


def test_of_a_larger_gap_only_the_ends_are_stored(planned):
    second = FIRST + 1 + FIRST_EDGE + LAST_EDGE + MIN_FREE
    layout = planned((FIRST, 1), (second, 1))
    assert layout.ranges == [
        (0, FIRST + 1 + FIRST_EDGE),
        (second - LAST_EDGE, second + 1 + FIRST_EDGE),
        (SECTORS - LAST_EDGE, SECTORS),
    ]
    assert layout.blank == []


@pytest.mark.parametrize("size", [1, 2047, 2048, 2049, 4096])
def test_a_gap_of_about_a_mebibyte_is_stored_whole(planned, size):
    layout = planned((FIRST, 1), (FIRST + 1 + size, 1))
    assert layout.ranges[0] == (0, FIRST + 1 + size + 1 + FIRST_EDGE)
