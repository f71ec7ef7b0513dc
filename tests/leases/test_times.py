"""Times as people write them, around the changes of the clocks too."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.errors import LeaseError
from rhubarbe.leases.times import clock, duration, iso, moment, read_period, read_time


def at(text):
    return datetime.fromisoformat(text).timestamp()


NOON = "2026-06-10T12:00+02:00"
pytestmark = pytest.mark.usefixtures("in_paris")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOON),
        ("14:30", "2026-06-10T14:30+02:00"),
        ("9:05", "2026-06-10T09:05+02:00"),
        ("tomorrow", "2026-06-11T00:00+02:00"),
        ("today", "2026-06-10T00:00+02:00"),
        ("+90m", "2026-06-10T13:30+02:00"),
        ("+2h30m", "2026-06-10T14:30+02:00"),
        ("+1d", "2026-06-11T12:00+02:00"),
        ("+2d3h4m", "2026-06-12T15:04+02:00"),
        ("1970-01-01T00:00Z", "1970-01-01T00:00Z"),
        ("2026-12-01T10:00", "2026-12-01T10:00+01:00"),
        ("2026-12-01 10:00:30", "2026-12-01T10:00:30+01:00"),
        ("2026-12-01", "2026-12-01T00:00+01:00"),
        ("2026-12-01T10:00Z", "2026-12-01T10:00+00:00"),
        ("2026-12-01T10:00-05:00", "2026-12-01T10:00-05:00"),
    ],
)
def test_a_time(text, expected):
    assert read_time(text, at(NOON)) == at(expected)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "25:00", "12:60", "+", "+h", "+2", "2h", "-1h", "2026-13-01", "12", "+99999999d",
     "9999-12-31T23:59-12:00", "2026-12-01T10:00\n", "3000-01-01T00:00Z", "1969-01-01"],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_the_forms(text):
    with pytest.raises(LeaseError, match=r"is no time: write now, 14:30"):
        read_time(text, at(NOON))


def test_why_it_is_no_time_is_kept_for_who_looks_into_it():
    with pytest.raises(LeaseError) as caught:
        read_time("soon", at(NOON))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_time_that_the_clocks_skip_is_refused():
    with pytest.raises(LeaseError, match=r"2026-03-29 02:30 does not exist here"):
        read_time("2026-03-29T02:30", at(NOON))
    with pytest.raises(LeaseError, match="does not exist"):
        read_time("02:30", at("2026-03-29T00:10+01:00"))
    assert read_time("2026-03-29T02:30+01:00", 0) == at("2026-03-29T03:30+02:00")


def test_a_time_that_comes_twice_is_refused_with_both():
    with pytest.raises(LeaseError, match="comes twice") as caught:
        read_time("2026-10-25T02:30", at(NOON))
    assert "2026-10-25T02:30+02:00 or 2026-10-25T02:30+01:00" in str(caught.value)
    assert read_time("2026-10-25T02:30+01:00", 0) - read_time("2026-10-25T02:30+02:00", 0) == 3600


@given(st.integers(0, 3 * 366 * 24 * 60))
def test_what_the_clocks_show_means_that_moment_or_is_refused(minutes):
    when = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    shown = when.astimezone().strftime("%Y-%m-%dT%H:%M")
    other = [
        (when + timedelta(hours=hours)).astimezone().strftime("%Y-%m-%dT%H:%M") for hours in (-1, 1)
    ]
    if shown in other:
        with pytest.raises(LeaseError, match="comes twice"):
            read_time(shown, 0)
    else:
        assert read_time(shown, 0) == when.timestamp()
    assert read_time(iso(when.timestamp()), 0) == when.timestamp()


@pytest.mark.parametrize(
    ("begin", "end", "hours"),
    [("13:00", "15:00", 2), ("22:00", "06:00", 8), ("22:00", "22:00", 24), ("now", "+3h", 3),
     ("+1h", "+30m", 0.5), ("tomorrow", "06:00", 6),
     ("2026-10-24T12:00", "2026-10-25T12:00", 25), ("2026-10-24T12:00", "+1d", 24)],
)  # fmt: skip
def test_a_period(begin, end, hours):
    begins, ends = read_period(begin, end, at(NOON))
    assert ends - begins == hours * 3600


@pytest.mark.parametrize(
    "period", [("15:00", "2026-06-10T14:00"), ("now", "now"), ("now", "+0m")], ids=str
)
def test_a_period_that_ends_before_it_begins_is_refused(period):
    with pytest.raises(LeaseError, match="must end after it begins"):
        read_period(*period, at(NOON))


def test_words():
    assert moment(at("2026-10-25T02:30+01:00")) == "2026-10-25 02:30 CET"
    assert clock(at("2026-06-10T23:00+02:00"), at(NOON)) == "23:00 CEST"
    assert clock(at("2026-06-11T01:00+02:00"), at(NOON)) == "2026-06-11 01:00 CEST"
    assert iso(at(NOON)) == "2026-06-10T12:00:00+02:00"
    lengths = (-5, 45, 60, 90, 3600, 9000, 90061, 86400)
    assert [duration(seconds) for seconds in lengths] == [
        "0 s", "45 s", "1 min", "1 min 30 s", "1 h", "2 h 30 min", "1 d 1 h", "1 d",
    ]  # fmt: skip
