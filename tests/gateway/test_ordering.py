"""The order of notes, whatever the clock did when they were made."""

import itertools
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.gateway.state.ordering import in_order

NOW = 1000.0


@dataclass(frozen=True)
class Note:
    user: str
    number: int
    started: float


def notes(user, *dates):
    return [Note(user, number, date) for number, date in enumerate(dates)]


def told(*histories):
    return "".join(f"{note.user}{note.number}" for note in in_order(histories, NOW))


def test_the_notes_of_all_by_their_dates():
    assert told(notes("a", 1.0, 3.0), notes("b", 2.0, 4.0), []) == "a0b0a1b1"


def test_a_clock_that_jumped_ahead_and_back_changes_no_order():
    assert told(notes("a", 1.0, 900.0, 3.0), notes("b", 2.0)) == "a0a1b0a2"


def test_a_clock_that_jumped_back_and_ahead_changes_no_order():
    assert told(notes("a", 10.0, 0.0, 30.0), notes("b", 20.0)) == "a0a1b0a2"


def test_the_dates_of_most_notes_are_believed():
    long_ago = notes("a", *(float(date) for date in range(100, 200)), 5.0, 200.0, 900.0, 201.0)
    assert told(long_ago, notes("b", 150.5)).endswith(
        "a50b0" + "".join(f"a{n}" for n in range(51, 104))
    )


def test_dates_yet_to_come_do_not_stay_the_last_for_ever():
    assert told(notes("a", 1.0, 5000.0), notes("b", 2.0)) == "a0a1b0"
    assert told(notes("a", 5000.0, 4000.0), notes("b", 2.0)) == "a0a1b0"


def test_notes_of_one_date_stay_as_they_are():
    assert told(notes("a", 1.0, 1.0, 1.0)) == "a0a1a2"


@given(st.lists(st.lists(st.floats(0, 2000), max_size=8), max_size=3))
def test_nothing_is_lost_and_each_user_s_order_is_that_of_noting(dates):
    users = [notes(str(user), *its_dates) for user, its_dates in enumerate(dates)]
    ordered = in_order(users, NOW)
    assert sorted(ordered, key=str) == sorted(itertools.chain(*users), key=str)
    for user in users:
        assert [note for note in ordered if note in user] == user
