"""Whose turn it is at a server, and how much anybody gets of it."""

import pytest

from rhubarbe.frisbee.errors import MalformedPacket
from rhubarbe.frisbee.floods import Floods
from rhubarbe.frisbee.packets import Ask, AskPart, Join, Leave
from rhubarbe.frisbee.rates import Rates
from rhubarbe.frisbee.sending import Sender
from rhubarbe.frisbee.wishes import Wishes

HONEST, STORM = "10.0.0.2", "10.0.0.66"
HALF = (1 << 512) - 1


def _chunks(sender, count):
    """The next so many chunks that are begun."""
    begun = []
    while len(begun) < count and (train := sender.next_train(1024, 0.0)):
        begun.append(train.chunk)
    return begun


def test_addresses_have_their_turns():
    wishes = Wishes()
    for chunk in range(50):
        wishes.add(chunk, 1, STORM)
    wishes.add(70, 1, HONEST)
    wishes.add(71, 1, HONEST)
    assert [wishes.next().chunk for _ in range(5)] == [0, 70, 1, 71, 2]


def test_what_a_storm_wants_too_does_not_come_later_for_that():
    wishes = Wishes()
    for chunk in range(50):
        wishes.add(chunk, 0b01, STORM)
    wishes.add(40, 0b10, HONEST)
    assert [wishes.next()[:2] for _ in range(2)] == [(0, 0b01), (40, 0b11)]
    assert [wishes.next().chunk for _ in range(48)] == [*range(1, 40), *range(41, 50)]
    assert (len(wishes), wishes.blocks) == (0, 0)


def test_what_is_kept_of_a_storm_is_bounded():
    wishes = Wishes()
    for number in range(10_000):
        for chunk in range(number, number + 100):
            wishes.add(chunk, 1, f"10.1.{number >> 8}.{number & 255}")
    assert len(wishes) < 2200


def test_a_storm_of_repairs_makes_nobody_much_slower():
    sender = Sender(200 << 20, 0.0)
    sender.receive(Join(1), HONEST, 0.0)
    wanted, got, sent = set(range(100)), set(), 0
    while wanted - got:
        for chunk in range(100, 200):
            sender.receive(AskPart(chunk, 1, HALF << 512 | HALF - 1), STORM, 0.0)
        for chunk in sorted(wanted - got)[:4]:
            sender.receive(Ask(chunk), HONEST, 0.0)
        (chunk,) = _chunks(sender, 1)
        got.add(chunk)
        sent += 1
    assert sent < 250


def test_who_has_got_the_image_many_times_gets_no_more():
    sender = Sender(50 << 20, 0.0)
    with pytest.raises(MalformedPacket, match=r"\Ait has got more blocks than anybody needs\Z"):
        for number in range(40 * 50):
            sender.receive(Ask(number % 50), STORM, 0.0)
            _chunks(sender, 1)
    sender.receive(Ask(0), HONEST, 0.0)


def test_who_leaves_in_the_name_of_another_is_not_heard():
    sender = Sender(5 << 20, 0.0)
    sender.receive(Join(7), HONEST, 0.0)
    sender.receive(Ask(3), HONEST, 0.0)
    sender.receive(Join(7), STORM, 0.1)
    sender.receive(Leave(7, 1), STORM, 0.2)
    assert sender.roster.active == 1
    assert sender.busy


def test_a_client_that_asks_has_not_left_whatever_was_said_in_its_name():
    sender = Sender(5 << 20, 0.0)
    sender.receive(Join(7), HONEST, 0.0)
    sender.receive(Leave(7, 1), HONEST, 0.1)
    sender.receive(Ask(3), HONEST, 0.2)
    assert sender.roster.active == 1
    assert sender.over(-1, 100.0) is None
    sender.receive(Leave(7, 1), HONEST, 0.3)
    assert sender.busy, "who was deceived once does not drop what is asked for"


def test_a_flood_of_joins_leaves_room_for_others():
    sender = Sender(5 << 20, 0.0)
    for number in range(10_000):
        sender.receive(Join(number), STORM, 0.0)
    sender.receive(Join(77_777), HONEST, 0.0)
    assert len(sender.roster.clients) < 100
    assert 77_777 in sender.roster.clients


def test_a_server_does_not_wait_for_ever_for_who_never_left():
    sender = Sender(5 << 20, 0.0)
    sender.receive(Join(7), STORM, 0.0)
    assert sender.over(-1, 1000.0) is None
    assert "No requests" in sender.over(-1, 2000.0)


def test_an_address_may_send_so_many_packets_a_second():
    rates = Rates(10, 20)
    assert sum(rates.allow(STORM, 1, 0.0) for _ in range(100)) == 20
    assert rates.allow(HONEST, 1, 0.0)
    assert sum(rates.allow(STORM, 1, 1.0) for _ in range(100)) == 10


def test_rates_of_endless_addresses_are_bounded():
    rates = Rates(10, 20)
    for number in range(10_000):
        rates.allow(str(number), 1, 0.0)
    assert len(rates._left) <= 2049
    assert sum(rates.allow("another", 1, 0.0) for _ in range(100)) == 0
    assert rates.allow("another", 1, 10.0)


def test_who_floods_is_not_heard_for_a_while():
    deaf = []
    floods = Floods(10, 20, lambda addresses: deaf.append(set(addresses)))
    for _ in range(100):
        floods.admits(STORM, 1, 0.0)
    assert deaf == [{STORM}]
    floods.poll(4.0)
    floods.poll(6.0)
    assert deaf == [{STORM}, set()]


def test_a_storm_of_repeated_requests_does_not_count_as_loss():
    sender = Sender(50 << 20, 0.0)
    for number in range(500):
        sender.receive(AskPart(number % 50, 1, HALF), STORM, 0.0)
        _chunks(sender, 1)
    assert sender.counters.repeated_requests < 100
