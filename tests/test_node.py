"""One node's power: what is believed, and what is done about a card that lies."""

import asyncio
import contextlib

import pytest

from rhubarbe import node as node_module
from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config.settings import NetworkingSettings, NodesSettings, Shell
from rhubarbe.displays import wording
from rhubarbe.errors import CardError, Mistrusted, NodeError, Refused, Unreachable
from rhubarbe.events import NodeNoted, NodeSaid, Phase, Progress
from rhubarbe.inventory import Entry, Interface
from rhubarbe.node import Node
from rhubarbe.ramdisk import MOST_TOLD

INTERFACE = Interface("fit01", "127.0.0.1", "02:00:00:00:00:01")
CARD = Interface("reboot01", "127.0.0.2", "")
SETTINGS = Settings(
    nodes=NodesSettings(idle_after_reset=0.05, probe_interval=0.01, reset_timeout=5)
)


class Card:
    """A power card that gives the readings that it is told to, the last one for ever."""

    def __init__(self, readings):
        self._readings = readings.split()
        self.sent = []

    async def is_on(self, ip):
        reading = self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]
        return reading == "on"

    async def send(self, ip, verb):
        self.sent.append(verb)

    async def turn(self):
        pass


class Body:
    """What a node shows on its ports: it leaves when the card gets one of `obeys`."""

    def __init__(self, card, *obeys, answers=True):
        self._card = card
        self._obeys = obeys
        self._answers = answers

    def __bool__(self):
        return self._answers

    async def departed(self, interval):
        if not {*self._card.sent[-1:], "by itself"} & {*self._obeys}:
            raise TimeoutError


@pytest.fixture
def reboot(monkeypatch):
    """Reboot a node with such a card, which leaves at such verbs; return what was sent and said."""

    async def run(card, *obeys, answers=True):
        async def observe(*_):
            return Body(card, *obeys, answers=answers)

        monkeypatch.setattr(node_module.Presence, "observe", observe)
        monkeypatch.setattr(node_module, "READINGS_APART", 0)
        bus = Bus()
        told = []
        bus.report = told.append
        await Node(Entry(1, INTERFACE, CARD, None), SETTINGS, card, bus).reboot(Phase.RESET)
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


@contextlib.asynccontextmanager
async def talking(words):
    """Serve a shell that says the same for ever; yield the node, and what is told of it."""

    async def shell(reader, writer):
        with contextlib.suppress(OSError):
            while True:
                writer.write(words)
                await writer.drain()

    told = []
    bus = Bus()
    bus.report = told.append
    async with await asyncio.start_server(shell, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = Settings(networking=NetworkingSettings(telnet_port=port, telnet_backoff=0.1))
        yield Node(Entry(1, INTERFACE, CARD, None), settings, Card("on"), bus), told


@pytest.mark.parametrize(
    "words", [b"line of words\r\n" * 500, b"x" * 5000, b"\r" * 5000, b"a\n" * 9999]
)
@pytest.mark.timeout(300)
async def test_a_shell_without_end_is_left(words):
    """Nor does it fill the log, and another round is of no use."""
    async with talking(words) as (node, told):
        for _ in range(3):
            with pytest.raises(Refused, match="floods its shell"):
                await node._look_for_disk()
    logged = [wording.describe(event) for event in told if not isinstance(event, Progress)]
    assert sum(len(line.encode()) + 25 for line in logged) <= MOST_TOLD + 1000
    assert sum("the rest is not told" in line for line in logged) <= 1


async def test_what_a_shell_says_before_it_is_ready_is_not_for_the_log():
    async with talking(b"booting\r\n") as (node, told), asyncio.timeout(20):
        with pytest.raises(Unreachable):
            await node.wait_for_ramdisk(0.5)
    assert not [event for event in told if isinstance(event, NodeSaid)]


async def test_who_is_refused_by_ssh_does_not_insist(monkeypatch):
    """OpenSSH would shut out the address."""
    tries = 0

    async def refuse(*_, **__):
        nonlocal tries
        tries += 1
        raise Refused("it takes none of our keys")

    async def accepts(*_):
        return True

    async with talking(b"") as (node, _), asyncio.timeout(20):
        monkeypatch.setattr(node, "_run", refuse)
        monkeypatch.setattr(node_module, "accepts", accepts)
        with pytest.raises(Unreachable):
            await node.wait_for_ramdisk(0.5)
    assert tries == 1


@pytest.mark.parametrize(
    ("limit", "answers", "is_over"),
    [
        (None, ["its host key is A", "its host key is A"], True),  # the ramdisk's own is wrong
        (None, ["its host key is A", None], False),  # the old system was still there
        (None, ["its host key is A", "its host key is B", None], False),
        (5, ["its host key is A", "its host key is A", None], False),  # nobody has reset it
    ],
)
async def test_a_wrong_host_key_after_a_reset_is_believed_the_second_time(
    monkeypatch, limit, answers, is_over
):
    left = list(answers)

    async def answer(*_, **__):
        if (words := left.pop(0)) is not None:
            raise Mistrusted(words)

    async def accepts(*_):
        return True

    monkeypatch.setattr(node_module, "accepts", accepts)
    monkeypatch.setattr(node_module, "FORGIVEN", 0.01)
    settings = Settings(
        nodes=NodesSettings(ramdisk_shell=Shell.SSH, timeout_before_telnet=30),
        networking=NetworkingSettings(telnet_backoff=0.01),
    )
    node = Node(Entry(1, INTERFACE, CARD, None), settings, Card("on"), Bus())
    monkeypatch.setattr(node, "_run", answer)
    if is_over:
        with pytest.raises(Mistrusted, match="its host key is A"):
            await node.wait_for_ramdisk(limit)
    else:
        await node.wait_for_ramdisk(limit)
    assert left == []
