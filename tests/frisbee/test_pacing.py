import random

import pytest

from rhubarbe.frisbee.pacing import BITS_PER_BLOCK, Pacer


def _send(pacer, seconds, *, late=lambda: 0.0):
    """Send all that may be sent for so long; return (time, blocks) of each burst."""
    now, sent = 0.0, []
    while now < seconds:
        wait = pacer.wait(now)
        if wait:
            now += wait + late()
            continue
        pacer.sent(pacer.burst, now)
        sent.append((now, pacer.burst))
    return sent


def _megabits(sent, start, end):
    return sum(n for at, n in sent if start <= at < end) * BITS_PER_BLOCK / 1e6 / (end - start)


@pytest.mark.parametrize("megabits", [1, 100, 500, 1000])
@pytest.mark.parametrize("longest", [1, 62])
def test_the_bandwidth_is_what_was_asked_for(megabits, longest):
    sent = _send(Pacer.of_bandwidth(megabits * 1_000_000, longest), 3)
    assert _megabits(sent, 0, 3) == pytest.approx(megabits, rel=0.02)


@pytest.mark.parametrize(
    ("megabits", "longest", "burst"),
    [(0.1, 62, 1), (1, 62, 2), (3, 62, 8), (20, 62, 8), (20, 5, 5)],
)
def test_a_slow_server_does_not_wake_all_its_clients_for_each_block(megabits, longest, burst):
    pacer = Pacer.of_bandwidth(int(megabits * 1_000_000), longest)
    assert pacer.burst == burst
    assert burst == 1 or pacer.interval <= 0.025


def test_waking_late_costs_no_bandwidth_and_no_second_has_too_much():
    chance = random.Random(1)
    pacer = Pacer.of_bandwidth(500_000_000, 62)
    late = lambda: 0.03 if chance.random() < 0.002 else chance.random() * 0.0005  # noqa: E731
    sent = _send(pacer, 10, late=late)
    assert _megabits(sent, 0, 10) == pytest.approx(500, rel=0.02)
    assert max(_megabits(sent, second, second + 1) for second in range(10)) <= 525


def test_frequent_long_delays_are_made_up_for_within_the_bound():
    chance = random.Random(2)
    pacer = Pacer.of_bandwidth(1_000_000_000, 62)
    late = lambda: 0.1 if chance.random() < 0.0001 else chance.random() * 0.0004  # noqa: E731
    sent = _send(pacer, 10, late=late)
    assert _megabits(sent, 0, 10) == pytest.approx(1000, rel=0.02)
    assert max(_megabits(sent, at / 4, at / 4 + 1) for at in range(36)) <= 1050


def test_a_short_lack_of_requests_is_made_up_for():
    pacer = Pacer.of_bandwidth(100_000_000, 62)
    pacer.start(50.0)
    pacer.sent(pacer.burst, 50.0)
    pacer.start(50.1)
    assert pacer.wait(50.1) == 0
    pacer.sent(pacer.burst, 50.1)
    assert pacer.wait(50.1) == pytest.approx(pacer.interval / 1.025)


def test_a_long_stop_is_not_made_up_for():
    pacer = Pacer.of_bandwidth(100_000_000, 62)
    pacer.sent(pacer.burst, 0.0)
    pacer.sent(pacer.burst, 30.0)
    sent = [(30 + at, n) for at, n in _send(_at(pacer, 30.0), 1)]
    assert _megabits(sent, 30, 31) <= 105
    assert pacer.missed == 1


class _at:  # noqa: N801 - reads as a word
    """The pacer as seen from a clock that starts at ``zero``."""

    def __init__(self, pacer, zero):
        self.pacer, self.zero = pacer, zero
        self.burst = pacer.burst

    def wait(self, now):
        return self.pacer.wait(now + self.zero)

    def sent(self, blocks, now):
        self.pacer.sent(blocks, now + self.zero)


def test_catching_up_goes_at_twice_the_rate_at_most():
    pacer = Pacer.of_bandwidth(100_000_000, 62)
    pacer.start(0.0)
    assert pacer.wait(0.03) == 0
    pacer.sent(pacer.burst, 0.03)
    assert pacer.wait(0.03) == pytest.approx(pacer.interval / 2)


def test_idling_earns_nothing():
    pacer = Pacer.of_bursts(16, 2000, 62)
    pacer.sent(16, 0.0)
    pacer.start(100.0)
    pacer.sent(16, 100.0)
    assert pacer.wait(100.0) == pytest.approx(0.002)


def test_the_default_of_the_original_is_8000_blocks_a_second():
    pacer = Pacer.of_bursts(16, 2000, 62)
    assert (pacer.rate, pacer.burst, pacer.interval) == (8000, 16, 0.002)


def test_no_gap_is_no_limit():
    pacer = Pacer.of_bursts(16, 0, 62)
    pacer.sent(1_000_000, 0.0)
    assert pacer.wait(0.0) == 0


def test_dynamic_pacing_gives_way_and_comes_back():
    pacer = Pacer.of_bursts(16, 2000, 62)
    pacer.adapt(trouble=True)
    assert (pacer.burst, pacer.rate) == (14, 7000)
    for _ in range(5):
        pacer.adapt(trouble=False)
    assert (pacer.burst, pacer.rate) == (16, 8000)
    for _ in range(50):
        pacer.adapt(trouble=True)
    assert pacer.burst == 1


@pytest.mark.parametrize(("before", "after"), [(500, 50), (50, 500), (100, 1)])
def test_another_bandwidth_is_kept_to_from_then_on(before, after):
    pacer = Pacer.of_bandwidth(before * 10**6, 64)
    now = 0.0
    blocks = {before: 0, after: 0}
    for megabits in (before, after):
        pacer.change(megabits * 10**6, 64)
        end = now + 2
        while (now := now + pacer.wait(now)) < end:
            pacer.sent(pacer.burst, now)
            blocks[megabits] += pacer.burst
    for megabits, count in blocks.items():
        assert count * BITS_PER_BLOCK / 2 == pytest.approx(megabits * 10**6, rel=0.1)
