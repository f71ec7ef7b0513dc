"""Ranges, compared with sets of all the numbers that are in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.disk import ranges
from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.ranges import gaps, merge, set_bits, to_sectors

some = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def numbers(found):
    return {number for start, end in found for number in range(start, end)}


def are_apart(found, gap=0):
    reaches = [-gap - 1, *(end for _, end in found)]
    return all(
        start < end and start > reach + gap
        for (start, end), reach in zip(found, reaches, strict=False)
    )


@given(some)
def test_merged_they_are_the_same_numbers_in_order_and_apart(given_ranges):
    merged = merge(given_ranges)
    assert numbers(merged) == numbers(given_ranges)
    assert are_apart(merged)


@given(some, st.integers(0, 5))
def test_merged_over_gaps_only_those_are_filled(given_ranges, gap):
    merged = merge(given_ranges, gap)
    filled = numbers(merged) - numbers(given_ranges)
    assert are_apart(merged, gap)
    assert numbers(given_ranges) <= numbers(merged)
    assert filled == numbers(
        (end, start)
        for (_, end), (start, _) in zip(merge(given_ranges), merge(given_ranges)[1:], strict=False)
        if start - end <= gap
    )


@given(some, some)
def test_gaps_are_what_is_in_the_outer_and_in_no_inner_one(inner, outer):
    """Wherever the inner ones are: a partition that is left out is not within what is used."""
    inner, outer = merge(inner), merge(outer)
    found = gaps(inner, outer)
    assert numbers(found) == numbers(outer) - numbers(inner)
    assert all(start < end for start, end in found)
    assert found == sorted(found)


def test_more_ranges_than_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr(ranges, "RANGES_MAX", 3)
    assert merge([(0, 1), (2, 3), (4, 5)]) == [(0, 1), (2, 3), (4, 5)]

    def endless():
        for number in range(4):
            yield (2 * number, 2 * number + 1)
        pytest.fail("more is read than is needed to tell")

    with pytest.raises(FilesystemError, match=r"\Ait is in too many pieces to be told apart\Z"):
        merge(endless())


def test_clusters_and_blocks_become_sectors():
    assert to_sectors([(0, 1), (3, 5)], 4096) == [(0, 8), (24, 40)]
    assert to_sectors([(0, 1), (3, 5)], 512, 100) == [(100, 101), (103, 105)]
    assert repr(to_sectors([(1, 2)], 1024)) == "[(2, 4)]", "whole numbers"


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 3))
def test_bits_that_are_set(bits, more):
    """The lowest bit of a byte is the first; what is behind the last one does not count."""
    padded = [*bits, *[True] * (-len(bits) % 8 + 8 * more)]
    bitmap = bytes(
        sum(bit << number for number, bit in enumerate(padded[at : at + 8]))
        for at in range(0, len(padded), 8)
    )
    found = set_bits(bitmap, len(bits))
    assert numbers(found) == {number for number, bit in enumerate(bits) if bit}
    assert are_apart(found)
