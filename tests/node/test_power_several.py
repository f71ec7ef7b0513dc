"""A node with several inputs of power, and one that a person switches."""

import pytest
from absent import AbsentDoors, entry

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config.settings import NodesSettings
from rhubarbe.errors import CardError, NodeError
from rhubarbe.events import Notice, Phase
from rhubarbe.node import Node
from rhubarbe.node import power as power_module
from rhubarbe.transports.power import Inputs, PowerControl
from rhubarbe.transports.power.by_hand import ByHand, ByHandValues

SETTINGS = Settings(nodes=NodesSettings(idle_after_reset=0.1, probe_interval=0.01, reset_timeout=5))


class Outlet(PowerControl):
    """One outlet; it shows a new state after so many readings, and does not know some orders."""

    def __init__(self, name, *, is_on=True, late=0, refuses=(), ignores=()):
        self.name = name
        self.has_power = is_on
        self.orders = []
        self._late = late
        self._refuses = refuses
        self._ignores = ignores
        self._shown = [is_on]

    async def is_on(self):
        return self._shown.pop(0) if len(self._shown) > 1 else self._shown[0]

    async def send(self, order):
        if order in self._refuses:
            raise CardError(f"refuses {order}")
        self.orders.append(order)
        if order not in self._ignores:
            before, self.has_power = self.has_power, order != "off"
            self._shown = [*[before] * self._late, self.has_power]


class Body:
    """What is fed by the outlets: it leaves once none of them gave power."""

    def __init__(self, *outlets, answers=True):
        self._outlets = outlets
        self._answers = answers

    def __bool__(self):
        return self._answers and any(outlet.has_power for outlet in self._outlets)

    async def has_left(self):
        return not self._answers or not any(outlet.has_power for outlet in self._outlets)


@pytest.fixture(autouse=True)
def _readings_come_at_once(monkeypatch):
    monkeypatch.setattr(power_module, "READINGS_APART_S", 0)


def node_of(*outlets, told=None, body=None):
    bus = Bus()
    bus.report = (told if told is not None else []).append
    doors = AbsentDoors(SETTINGS, presence=Body(*outlets) if body is None else body)
    doors.power = lambda entry: Inputs(outlets)
    return Node(entry(), doors, bus)


def two(**said):
    return Outlet("pdu1 outlet 3"), Outlet("pdu2 outlet 4", **said)


async def test_off_is_all_off_and_on_is_all_on():
    outlets = two(late=3)
    node = node_of(*outlets)
    assert await node.power.turn_off() == "off"
    assert not any(outlet.has_power for outlet in outlets)
    assert await node.power.ask("status") == "off"
    assert await node.power.turn_on() == "on"
    assert all(outlet.has_power for outlet in outlets)
    assert await node.power.ask("status") == "on"


async def test_a_reset_of_several_is_off_seen_off_and_on():
    outlets = two(late=3)
    await node_of(*outlets).power.reboot(Phase.RESET)
    assert [outlet.orders for outlet in outlets] == [["off", "on"]] * 2


async def test_one_that_is_off_is_told_and_switched_on_too():
    outlets = two(is_on=False)
    node = node_of(*outlets)
    assert await node.power.ask("status") == "partly on (pdu1 outlet 3 on, pdu2 outlet 4 off)"
    await node.power.reboot(Phase.RESET)
    assert all(outlet.has_power for outlet in outlets)


async def test_where_all_are_off_they_are_switched_on():
    outlets = Outlet("a", is_on=False), Outlet("b", is_on=False)
    await node_of(*outlets).power.reboot(Phase.RESET)
    assert [outlet.orders for outlet in outlets] == [["on"]] * 2


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"refuses": ["off"]}, "power card pdu2 outlet 4 refuses off"),
        (
            {"ignores": ["off"]},
            "power card pdu2 outlet 4 says ok to off, but the node stays up",
        ),
        (
            {"ignores": ["on"]},
            "power card pdu2 outlet 4 says ok to on, but that the node is off",
        ),
    ],
)
async def test_the_one_to_blame_is_named_and_the_other_stays_on(said, words):
    outlets = two(**said)
    with pytest.raises(CardError) as caught:
        await node_of(*outlets).power.reboot(Phase.RESET)
    assert str(caught.value) == words
    assert caught.value.card == "pdu2 outlet 4"
    assert outlets[0].has_power


async def test_nothing_is_switched_where_one_does_not_answer():
    outlets = two()

    async def is_on():
        raise CardError("no answer in 3 s to status")

    outlets[1].is_on = is_on
    with pytest.raises(CardError, match="power card pdu2 outlet 4 no answer in 3 s to status"):
        await node_of(*outlets).power.reboot(Phase.RESET)
    assert [outlet.orders for outlet in outlets] == [[], []]


async def test_an_order_that_one_refuses_is_obeyed_by_the_other():
    outlets = two(refuses=["off"])
    with pytest.raises(CardError, match="refuses off") as caught:
        await node_of(*outlets).power.turn_off()
    assert caught.value.card == "pdu2 outlet 4"
    assert not outlets[0].has_power


async def test_an_order_for_the_usrp_goes_to_who_has_one():
    outlets = two()
    outlets[1].has_usrp = True
    await Inputs(outlets).send("usrpoff")
    assert [outlet.orders for outlet in outlets] == [[], ["usrpoff"]]
    assert Inputs(outlets).has_usrp
    assert not Inputs(outlets[:1]).has_usrp


def by_hand(**said):
    return ByHand(ByHandValues(**{"patience": 0.2} | said), 1, SETTINGS.networking)


class Person:
    """A node that a person switches once told, or not; what is told is kept."""

    def __init__(self, *, obeys=True, is_there=True):
        self.told = []
        self._obeys = obeys
        self.is_there = is_there
        self.has_been_away = False

    def append(self, event):
        if isinstance(event, Notice):
            self.told.append(event.text)
            if self._obeys:
                self.is_there = "switch off" not in event.text
                self.has_been_away = True

    def __bool__(self):
        return self.is_there

    async def has_left(self):
        return not self.is_there or self.has_been_away


def node_by_hand(person, **said):
    return node_of(by_hand(**said), told=person, body=person)


async def test_what_a_person_switches_is_honestly_unknown():
    assert await node_by_hand(Person()).power.ask("status") == "unknown"


async def test_a_person_is_told_to_restart_a_node_that_is_up():
    person = Person()
    await node_by_hand(person, where="third bench").power.reboot(Phase.RESET)
    assert person.told == ["switch fit01 off and on again now (third bench)"]


async def test_a_person_is_told_to_switch_on_a_node_that_answers_nowhere():
    person = Person(is_there=False)
    await node_by_hand(person).power.reboot(Phase.RESET)
    assert person.told == ["switch on fit01 now; where it is on, off first"]
    assert person.is_there


@pytest.mark.parametrize(("is_there", "seen"), [(True, "go away"), (False, "come")])
async def test_a_person_who_does_nothing_is_waited_for_within_limits(is_there, seen):
    node = node_by_hand(Person(obeys=False, is_there=is_there))
    with pytest.raises(NodeError, match=rf"was not seen to {seen} in 0\.3 s"):
        await node.power.reboot(Phase.RESET)


async def test_a_person_switches_on_and_off():
    person = Person(is_there=False)
    node = node_by_hand(person)
    assert await node.power.turn_on() == "answers"
    assert await node.power.turn_off() == "answers nowhere"
    assert person.told == ["switch on fit01 now", "switch off fit01 now"]
    await node_by_hand(Person()).power.reset()


@pytest.mark.parametrize(("verb", "is_there"), [("turn_on", False), ("turn_off", True)])
async def test_what_a_person_did_not_do_is_no_fault_of_a_card(verb, is_there):
    node = node_by_hand(Person(obeys=False, is_there=is_there))
    with pytest.raises(NodeError, match="was not seen to") as caught:
        await getattr(node.power, verb)()
    assert not isinstance(caught.value, CardError)


async def test_a_card_and_a_person_may_switch_one_node():
    class Both(Person):
        def __init__(self, outlet):
            super().__init__()
            self._outlet = outlet

        async def has_left(self):
            return not self._outlet.has_power and not self.is_there

    outlet = Outlet("pdu1 outlet 3")
    person = Both(outlet)
    node = node_of(outlet, by_hand(), told=person, body=person)
    assert await node.power.ask("status") == "unknown"
    assert await node.power.turn_off() == "answers nowhere"
    assert outlet.orders == ["off"]
    assert person.told == ["switch off fit01 now"]
