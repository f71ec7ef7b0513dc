"""Power: ask the cards, or have them switch nodes and their USRPs, and see that it was done.

A card that says ok is not believed: after each order it is asked again, and after `off` the node
must have gone away.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import CardError, NodeError
from rhubarbe.events import NodeAnswered, Phase
from rhubarbe.inventory import Entry
from rhubarbe.node import Doors, Node
from rhubarbe.node.keys import require_files
from rhubarbe.node.secrets import lacking_secrets
from rhubarbe.node.system import LETS_IN_S
from rhubarbe.operations.command import Command
from rhubarbe.outlets import Device
from rhubarbe.selector import fold

# What a card may answer to a question; it may say anything to `info`, and `status` is checked.
QUESTIONS = {"status": (), "usrpstatus": ("usrpon", "usrpoff"), "info": ()}
USRP_OFF = "usrpoff"
# Where the gateway is busy, a command may take so much longer than its cards.
BUSY_S = 10.0
# The end of a card's complaint, which tells what it was asked: cut, so that equal failures group.
SILENT = re.compile(r"((?:no answer in|cannot be reached).*?)(?: (?:to|for) \w+)(?=:|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRequest:
    """What to do on which nodes.

    `limit` is for the answer of a card where it is asked a question, else for the whole command.
    With `softly`, nodes are shut down over ssh before they are switched off. Nodes that another
    command works on are waited for `lock_wait_s` seconds. What `everything` is, is told first. The
    devices are switched off after the nodes.
    """

    verb: str
    entries: Sequence[Entry]
    limit: float | None = None
    softly: bool = False
    lock_wait_s: float = 0.0
    everything: bool = False
    devices: Sequence[Device] = ()


async def power(
    request: PowerRequest, settings: Settings, bus: Bus, doors: Doors | None = None
) -> None:
    """Do what is asked on all the nodes; raises RhubarbeError before any is touched, or never."""
    asks = request.verb in QUESTIONS
    answer = (request.limit if asks else None) or settings.nodes.cmc_default_timeout
    doors = doors or Doors(settings, answer)
    limit = answer + BUSY_S if asks else _limit(request, settings, doors)
    command = Command(request.verb, request.entries, limit, doors, bus)
    command.begin()
    if request.everything:
        command.notice(f"{request.verb} to everything: {_everything(request)}")
    await (_ask if asks else _order)(request, command)


def _everything(request: PowerRequest) -> str:
    numbers = fold(entry.number for entry in request.entries)
    nodes = f"nodes {numbers}, with their USRPs" if numbers else ""
    devices = ", ".join(device.name for device in request.devices)
    return "; ".join(filter(None, (nodes, f"on PDUs {devices}" if devices else "")))


async def _ask(request: PowerRequest, command: Command) -> None:
    await command.warn_without_lease()
    await lacking_secrets(request.entries)  # who lacks one is told of with what is asked
    await _run(request, command)


async def _order(request: PowerRequest, command: Command) -> None:
    if request.softly:
        await require_files(command.settings.networking)
    await command.require_lease()
    await command.require_secrets()
    async with command.locked(request.lock_wait_s):
        await _run(request, command)


async def _run(request: PowerRequest, command: Command) -> None:
    nodes = command.nodes()
    for node in nodes:
        node.phase = Phase.POWER
    job = _Job(request, command.doors, command.bus).run
    afterwards = partial(_devices_off, request, command) if request.devices else None
    is_noted = request.verb not in QUESTIONS
    await command.run(nodes, job, is_noted=is_noted, afterwards=afterwards)


async def _devices_off(request: PowerRequest, command: Command) -> bool:
    from rhubarbe.operations.devices import switch_off  # few sites have any

    return await switch_off(request.devices, request.lock_wait_s, command)


def _limit(request: PowerRequest, settings: Settings, doors: Doors) -> float:
    """Return how long an order may take on all the nodes, which take turns."""
    if request.limit is not None:
        return request.limit
    turns = len(request.entries) / settings.nodes.reset_window
    softly = settings.nodes.soft_off_timeout + LETS_IN_S if request.softly else 0.0
    patience = max((doors.power(entry).patience for entry in request.entries), default=0.0)
    return settings.nodes.cmc_safe_timeout + turns + softly + patience


class _Job:
    """What is done on one node, and what is said of it."""

    def __init__(self, request: PowerRequest, doors: Doors, bus: Bus) -> None:
        self._verb = request.verb
        self._softly = request.softly
        self._doors = doors
        self._bus = bus
        self._orders: dict[str, Callable[[Node], Awaitable[str]]] = {
            "on": self._on,
            "off": self._off,
            "reset": self._reset,
            "usrpon": self._switch_usrp,
            "usrpoff": self._switch_usrp,
            "bothoff": self._both_off,
            "bye": self._both_off,
        }

    async def run(self, node: Node) -> None:
        """Do it, and report what came of it; raises NodeError."""
        try:
            text = await self._orders.get(self._verb, self._ask)(node)
        except CardError as error:
            card = error.card or node.power.name
            prefix = f"power card {card} "
            text = reason_of(error).removeprefix(prefix)
            self._bus.report(NodeAnswered(node=node.name, text=text, ok=False, card=card))
            raise CardError(f"{prefix}{text}", card) from error
        except NodeError as error:
            self._bus.report(NodeAnswered(node=node.name, text=reason_of(error), ok=False))
            raise
        self._bus.report(NodeAnswered(node=node.name, text=text))

    async def _ask(self, node: Node) -> str:
        async with node.enter(Phase.POWER):
            answer = await node.power.ask(self._verb)
        known = QUESTIONS[self._verb]
        if not answer or (known and answer not in known):
            expected = f", expected {' or '.join(known)}" if known else ""
            raise CardError(f"answers {self._verb} with {answer[:40]!r}{expected}")
        return answer

    async def _on(self, node: Node) -> str:
        return await node.power.turn_on()

    async def _off(self, node: Node) -> str:
        async with node.enter(Phase.POWER):
            lack = ""
            if self._softly and not await node.power.is_off():
                async with self._doors.sessions:
                    lack = await node.system.shut_down(node.power.is_off)
            if lack:
                node.note(f"no soft shutdown: {lack}")
            seen = await node.power.turn_off()
        return f"{seen} (no soft shutdown: {lack})" if lack else seen

    async def _reset(self, node: Node) -> str:
        await node.power.reset()
        return "reset"

    async def _switch_usrp(self, node: Node) -> str:
        await node.power.switch_usrp(self._verb)
        return self._verb

    async def _both_off(self, node: Node) -> str:
        if not node.power.has_usrp:
            return await self._off(node)
        try:
            off = await self._off(node)
        except NodeError as error:
            with contextlib.suppress(NodeError):  # one reason is enough
                await node.power.switch_usrp(USRP_OFF)
            raise error from None
        await node.power.switch_usrp(USRP_OFF)
        return f"{off}, {USRP_OFF}"


def reason_of(error: NodeError) -> str:
    """Return the words of an error without what the card was asked: equal failures then group."""
    return SILENT.sub(r"\1", str(error))
