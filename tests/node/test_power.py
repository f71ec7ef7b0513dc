"""One node's power: what is believed, and what is done about a card that lies."""

import pytest
from absent import AbsentDoors, entry

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config.settings import NodesSettings
from rhubarbe.errors import CardError, NodeError
from rhubarbe.events import NodeNoted, Phase
from rhubarbe.node import Node
from rhubarbe.node import power as power_module
from rhubarbe.transports.power import PowerControl

SETTINGS = Settings(
    nodes=NodesSettings(idle_after_reset=0.05, probe_interval=0.01, reset_timeout=5)
)


class Card(PowerControl):
    """A power card that gives the readings that it is told to, the last one for ever."""

    def __init__(self, readings):
        self._readings = readings.split()
        self.sent = []

    name = "reboot01"

    async def is_on(self):
        reading = self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]
        return reading == "on"

    async def send(self, verb):
        self.sent.append(verb)


class Body:
    """What a node shows on its ports: it leaves when the card gets one of `obeys`."""

    def __init__(self, card, *obeys, answers=True):
        self._card = card
        self._obeys = obeys
        self._answers = answers

    def __bool__(self):
        return self._answers

    async def has_left(self):
        return not self._answers or bool({*self._card.sent[-1:], "by itself"} & {*self._obeys})


@pytest.fixture
def reboot(monkeypatch):
    """Reboot a node with such a card, which leaves at such verbs; return what was sent and said."""

    async def run(card, *obeys, answers=True, settings=SETTINGS):
        monkeypatch.setattr(power_module, "READINGS_APART_S", 0)
        bus, told = Bus(), []
        bus.report = told.append
        doors = AbsentDoors(settings, power=card, presence=Body(card, *obeys, answers=answers))
        await Node(entry(), doors, bus).power.reboot(Phase.RESET)
        return card.sent, [event.text for event in told if isinstance(event, NodeNoted)]

    return run


async def test_one_odd_reading_is_not_believed(reboot):
    """A single `off` of a node that is on would have it switched on, and never reset."""
    sent, _ = await reboot(Card("off on on"), "reset")
    assert sent == ["reset"]


async def test_a_node_that_is_off_is_switched_on(reboot):
    sent, _ = await reboot(Card("off off"), answers=False)
    assert sent == ["on"]


async def test_a_node_that_is_going_off_is_switched_on_once_it_has_left(reboot):
    sent, _ = await reboot(Card("off off"), "by itself")
    assert sent == ["on"]


async def test_a_card_that_says_the_node_is_off_while_it_stays_up_is_blamed(reboot):
    """What an order of the round before has left."""
    with pytest.raises(CardError, match="says that the node is off, but the node stays up"):
        await reboot(Card("off off"))


async def test_a_reset_that_did_nothing_becomes_off_and_on(reboot):
    sent, said = await reboot(Card("on on off off"), "off")
    assert sent == ["reset", "off", "on"]
    assert any("off, then on" in text for text in said)


async def test_a_card_that_says_the_node_is_on_after_off_is_not_believed(reboot):
    with pytest.raises(CardError, match="says ok to off, but that the node is on"):
        await reboot(Card("on"), "off")


async def test_a_node_that_never_leaves_is_bad(reboot):
    with pytest.raises(NodeError, match="the node stays up"):
        await reboot(Card("on"))


async def test_one_that_takes_its_time_is_blamed_all_the_same(reboot):
    """Such as a machine that is shut down over ssh: it is waited for twice, and then named."""
    card = Card("on")
    card.patience = 1.0
    short = Settings(
        nodes=NodesSettings(idle_after_reset=0.05, probe_interval=0.01, reset_timeout=0.8)
    )
    with pytest.raises(CardError, match="says ok to reset and to off, but the node stays up"):
        await reboot(card, settings=short)
    assert card.sent == ["reset", "off"]
