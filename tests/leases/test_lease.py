"""What follows from several leases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.errors import LeaseError
from rhubarbe.leases.lease import Lease, end_of_use, holders, overlapping, refuse_the_past

LEASES = [
    Lease(10, 20, "ada", "1"),
    Lease(20, 30, "bob", "2"),
    Lease(30, 40, "ada", "3"),
    Lease(40, 50, "ada", "4"),
    Lease(60, 70, "ada", "5"),
]


def test_a_lease_holds_from_its_begin_on_and_not_at_its_end():
    assert [moment for moment in (9, 10, 19, 20) if LEASES[0].holds(moment)] == [10, 19]


def test_neighbours_do_not_overlap():
    assert overlapping(LEASES, 20, 30) == [LEASES[1]]
    assert overlapping(reversed(LEASES), 19, 31) == LEASES[:3]
    assert overlapping(LEASES, 50, 60) == []


def test_who_has_it():
    assert holders(LEASES, 25) == "bob has it"
    assert holders([*LEASES, Lease(0, 99, "eve", "6")], 25) == "bob and eve have it"
    assert holders(LEASES, 55) == "the testbed is free"


def test_until_when():
    assert end_of_use(LEASES, "ada", 15) == 20
    assert end_of_use(LEASES, "bob", 15) is None
    assert end_of_use(LEASES[::-1], "ada", 35) == 50
    assert end_of_use(LEASES, "ada", 50) is None
    assert end_of_use([Lease(0, 99, "ada", "6"), *LEASES], "ada", 15) == 99


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), max_size=8), st.integers(0, 25))
def test_the_end_is_the_first_moment_that_no_lease_holds(times, moment):
    leases = [Lease(begin, begin + length, "ada", "") for begin, length in times]
    end = next(each for each in range(moment, 99) if not any(lease.holds(each) for lease in leases))
    assert end_of_use(leases, "ada", moment) == (end if end > moment else None)


def test_a_lease_begins_now_as_the_clocks_of_two_machines_have_it():
    refuse_the_past(1000.0, 1000.0)
    refuse_the_past(940.0, 1000.0)
    with pytest.raises(
        LeaseError, match=r"\Aa lease cannot begin in the past: nothing was booked\Z"
    ):
        refuse_the_past(939.9, 1000.0)
