"""Power: ask the cards, or have them switch nodes and their USRPs, and see that it was done.

A card that says ok is not believed: after each order it is asked again, and after `off` the node
must have gone away.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import CardError, CommandFailed, NodeError, Refused, Unreachable
from rhubarbe.events import NodeAnswered, Phase
from rhubarbe.inventory import Entry
from rhubarbe.node import LOOK, Node
from rhubarbe.operations.command import Command
from rhubarbe.transports import ssh
from rhubarbe.transports.cmc import Cards
from rhubarbe.transports.known_hosts import require_files
from rhubarbe.transports.presence import accepts

# What a card may answer to a question; it may say anything to `info`.
QUESTIONS = {"status": ("on", "off"), "usrpstatus": ("usrpon", "usrpoff"), "info": ()}
# A gateway that is busy may take this much longer than its cards.
GRACE = 10.0
# How long a node may take to let us in for a soft shutdown; and how many at once.
LETS_IN = 10.0
SESSIONS = 16
# Which question or order a card did not answer makes no difference to a person.
SILENT = re.compile(r"((?:no answer in|cannot be reached).*?)(?: (?:to|for) \w+)(?=:|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRequest:
    """What to do on which nodes.

    `limit` is for the answer of a card where it is asked a question, else for the whole command.
    With `softly`, nodes are shut down over ssh before they are switched off. Nodes that another
    command works on are waited for `patience` seconds.
    """

    verb: str
    entries: Sequence[Entry]
    limit: float | None = None
    softly: bool = False
    patience: float = 0.0


async def power(request: PowerRequest, settings: Settings, bus: Bus) -> None:
    """Do what is asked on all the nodes; raises RhubarbeError before any is touched, or never."""
    await (_ask if request.verb in QUESTIONS else _order)(request, settings, bus)


async def _ask(request: PowerRequest, settings: Settings, bus: Bus) -> None:
    answer = request.limit or settings.nodes.cmc_default_timeout
    command = Command(request.verb, request.entries, answer + GRACE, settings, bus)
    command.begin()
    await _run(request, command, answer, is_noted=False)


async def _order(request: PowerRequest, settings: Settings, bus: Bus) -> None:
    command = Command(request.verb, request.entries, _limit(request, settings), settings, bus)
    command.begin()
    if request.softly:
        await require_files(settings.networking)
    await command.require_lease()
    async with command.locked(request.patience):
        await _run(request, command, settings.nodes.cmc_default_timeout)


async def _run(
    request: PowerRequest, command: Command, answer: float, *, is_noted: bool = True
) -> None:
    """Do the work with cards that may take `answer` seconds for one word."""
    settings = command.settings
    cards = Cards(settings.networking.cmc_port, answer, settings.nodes.reset_window)
    nodes = command.nodes(cards)
    for node in nodes:
        node.phase = Phase.POWER
    job = _Job(request, settings, cards, command.bus).run
    await command.run(nodes, job, is_noted=is_noted)


def _limit(request: PowerRequest, settings: Settings) -> float:
    """Return how long an order may take on all the nodes, which take turns."""
    if request.limit is not None:
        return request.limit
    turns = len(request.entries) / settings.nodes.reset_window
    softly = settings.nodes.soft_off_timeout + LETS_IN if request.softly else 0.0
    return settings.nodes.cmc_safe_timeout + turns + softly


class _Job:
    """What is done on one node, and what is said of it."""

    def __init__(self, request: PowerRequest, settings: Settings, cards: Cards, bus: Bus) -> None:
        self._verb = request.verb
        self._softly = request.softly
        self._settings = settings
        self._cards = cards
        self._bus = bus
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._orders: dict[str, Callable[[Node], Awaitable[str]]] = {
            "on": self._on,
            "off": self._off,
            "reset": self._reset,
            "usrpon": self._usrp_on,
            "usrpoff": self._usrp_off,
            "bothoff": self._both_off,
            "bye": self._both_off,
        }

    async def run(self, node: Node) -> None:
        """Do it, and report what came of it; raises NodeError."""
        card = node.entry.cmc.hostname
        try:
            text = await self._orders.get(self._verb, self._ask)(node)
        except NodeError as error:
            prefix = f"power card {card} "
            blamed = isinstance(error, CardError) or str(error).startswith(prefix)
            text = reason_of(error).removeprefix(prefix)
            self._bus.report(
                NodeAnswered(node=node.name, text=text, ok=False, card=card if blamed else "")
            )
            if blamed:
                raise CardError(f"{prefix}{text}") from error
            raise
        self._bus.report(NodeAnswered(node=node.name, text=text))

    async def _ask(self, node: Node) -> str:
        async with node.enter(Phase.POWER):
            answer = await node.ask(self._verb)
        known = QUESTIONS[self._verb]
        if not answer or (known and answer not in known):
            expected = f", expected {' or '.join(known)}" if known else ""
            raise CardError(f"answers {self._verb} with {answer[:40]!r}{expected}")
        return answer

    async def _on(self, node: Node) -> str:
        await self._cards.turn()
        async with node.enter(Phase.POWER):
            await node.send("on")
            await self._see(node.settled_power, "says ok to on, but that the node is off")
        return "on"

    async def _off(self, node: Node) -> str:
        async with node.enter(Phase.POWER):
            lack = ""
            if self._softly and await node.settled_power():
                async with self._sessions:
                    lack = await self._shut_down(node)
            if lack:
                node.note(f"no soft shutdown: {lack}")
            presence = await node.presence()
            await node.send("off")
            await self._see(lambda: _is_off(node), "says ok to off, but that the node is on")

            async def left() -> bool:
                await presence.departed(self._settings.nodes.probe_interval)
                return True

            await self._see(left, "says ok to off, but the node stays up")
        return f"off (no soft shutdown: {lack})" if lack else "off"

    async def _shut_down(self, node: Node) -> str:
        """Let the node's own system shut down, or return why it does not.

        Its card has the last word anyway.
        """
        networking, limits = self._settings.networking, self._settings.nodes
        ip, port = node.entry.control.ip, networking.ssh_port
        if not await accepts(ip, port, LOOK):
            return "no answer on ssh"
        try:
            await ssh.Host.of(node.name, ip, networking).ask(LETS_IN, "shutdown -h now")
        except (Refused, CommandFailed) as error:
            return str(error)
        except Unreachable as error:  # perhaps since it is shutting down
            node.note(f"shutdown: {error}")
        if not await _happens(
            lambda: _is_off(node), limits.soft_off_timeout, limits.probe_interval
        ):
            return f"not done in {limits.soft_off_timeout:g} s"
        return ""

    async def _reset(self, node: Node) -> str:
        async with node.enter(Phase.POWER):
            if not await node.settled_power():
                raise NodeError("is off, which a reset does not change: rhubarbe-on does")
        await node.reboot(Phase.RESET)
        return "reset"

    async def _usrp_on(self, node: Node) -> str:
        return await self._switch_usrp(node, "usrpon")

    async def _usrp_off(self, node: Node) -> str:
        return await self._switch_usrp(node, "usrpoff")

    async def _switch_usrp(self, node: Node, verb: str) -> str:
        async def done() -> bool:
            return await node.ask("usrpstatus") == verb

        async with node.enter(Phase.POWER):
            await node.send(verb)
            await self._see(done, f"says ok to {verb}, but does not do it")
        return verb

    async def _both_off(self, node: Node) -> str:
        try:
            off = await self._off(node)
        except NodeError as error:
            with contextlib.suppress(NodeError):  # one reason is enough
                await self._usrp_off(node)
            raise error from None
        return f"{off}, {await self._usrp_off(node)}"

    async def _see(self, done: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        """Return once it is done; raises CardError with the words `otherwise`, after a while."""
        limits = self._settings.nodes
        if not await _happens(done, limits.idle_after_reset, limits.probe_interval):
            raise CardError(otherwise)


async def _happens(done: Callable[[], Awaitable[bool]], limit: float, interval: float) -> bool:
    """Tell whether something is done within `limit` seconds; look every `interval` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while True:
                if await done():
                    return True
                await asyncio.sleep(interval)
    return False


def reason_of(error: NodeError) -> str:
    """Return the words of an error, less which question or order a card did not answer."""
    return SILENT.sub(r"\1", str(error))


async def _is_off(node: Node) -> bool:
    return not await node.settled_power()
