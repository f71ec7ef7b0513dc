"""Wait: return when every node accepts ssh."""

from collections.abc import Sequence
from dataclasses import dataclass

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import Unreachable
from rhubarbe.events import Phase, Started
from rhubarbe.gateway.history import History
from rhubarbe.gateway.journal import Journal
from rhubarbe.inventory import Entry
from rhubarbe.node import Node, backoff
from rhubarbe.operations.fleet import Fleet
from rhubarbe.operations.netboot import open_cards, sweep
from rhubarbe.operations.outcome import Outcome
from rhubarbe.transports.ssh import log_in

# On a gateway that is busy with many nodes the first tries are too short: later ones are longer.
LONGER = 1.5
LONGEST = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRequest:
    """Which nodes to wait for, as which user; `backoff` is the mean pause between two tries."""

    entries: Sequence[Entry]
    limit: float
    backoff: float
    user: str


async def wait(request: WaitRequest, settings: Settings, bus: Bus) -> Outcome:
    """Wait for ssh on all the nodes; one that refuses the key has answered, and is bad."""
    bus.report(Started(command="wait", nodes=tuple(entry.name for entry in request.entries)))
    await sweep(Journal(settings.testbed.state_dir, "wait", request.limit), settings, bus)
    networking = settings.networking

    async def job(node: Node) -> None:
        ip = node.entry.control.ip
        limit = networking.ssh_timeout
        async with node.enter(Phase.SSH):
            async for _ in backoff(request.backoff):
                try:
                    banner = await log_in(
                        ip, networking.ssh_port, request.user, networking.ssh_key, limit
                    )
                except Unreachable as error:
                    node.last_line = str(error)
                    node.note(node.last_line)
                    limit = min(LONGEST, limit * LONGER)
                else:
                    node.note(f"accepts ssh: {banner}")
                    return

    async with open_cards(settings) as cards:
        nodes = [Node(entry, settings, cards, bus) for entry in request.entries]
        fleet = Fleet("wait", nodes, bus, history=History(settings.testbed.state_dir))
        return await fleet.run(job, request.limit)
