"""The more clients ask, the longer each waits; but nobody can make a client wait for long."""

import tracemalloc

import pytest

from rhubarbe.frisbee.crowd import Crowd


def asked_by(count, *, since=0.0):
    """Return a crowd of which each has asked twice, and when it did so last."""
    crowd, now = Crowd(), since
    for _ in range(2):
        for number in range(count):
            now += 1 / 64
            crowd.heard(f"10.0.{number >> 8}.{number & 255}", now)
    return crowd, now


@pytest.mark.parametrize("count", [1, 8, 16])
def test_few_ask_as_often_as_they_like(count):
    assert asked_by(count)[0].stretch == 1.0


@pytest.mark.parametrize(("count", "least"), [(48, 2.5), (96, 5.0), (190, 10.0)])
def test_many_wait_in_proportion(count, least):
    crowd, now = asked_by(count)
    crowd.heard("10.0.0.1", now + 1)
    assert least < crowd.stretch <= count / 16


def test_who_asks_no_more_is_forgotten():
    crowd, now = asked_by(96)
    crowd.heard("10.0.0.1", now + 30)
    assert crowd.stretch == 1.0


def test_forged_addresses_cost_little_memory_and_no_endless_waiting():
    tracemalloc.start()
    try:
        crowd, _ = asked_by(100_000)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 1 <= crowd.stretch <= 12
    assert held < 1 << 20
