"""Look at nodes without touching them: which are on, which are up, and what is on their disks."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import CardError, GatewayError, Mistrusted, NodeError, Unreachable
from rhubarbe.events import NodeAnswered, Phase
from rhubarbe.gateway.state.history import History
from rhubarbe.inventory import Entry
from rhubarbe.node import Doors, Node
from rhubarbe.node.doors import LOOK, SESSIONS
from rhubarbe.node.keys import require_files
from rhubarbe.node.power import PowerState
from rhubarbe.node.secrets import lacking_secrets
from rhubarbe.node.system import LETS_IN_S
from rhubarbe.operations.command import Command
from rhubarbe.operations.loaded import Loaded, last_loaded
from rhubarbe.operations.power import BUSY_S, reason_of
from rhubarbe.text import sanitise

# Connections at once, well below how many files a process may have open.
LOOKS = 256
# Controls of one testbed are often on one small switch, or one process serves many.
ASKED_AT_ONCE = 64


async def which_are_on(
    entries: Sequence[Entry], settings: Settings, doors: Doors | None = None
) -> tuple[list[Entry], list[str]]:
    """Return the nodes that are on, and a line for each card that does not say.

    A node is on that has any input that is.
    """
    doors = doors or Doors(settings)

    async def look(entry: Entry) -> bool | str:
        control = doors.power(entry)
        try:
            state = await control.state()
        except CardError as error:
            return f"{error.card or control.name}: {reason_of(error)}"
        except GatewayError as error:
            return f"{entry.name}: {error}"
        if state is PowerState.UNKNOWN:
            return f"{entry.name}: {state}"
        return state is not PowerState.OFF

    found = await asyncio.gather(*map(look, entries))
    on = [entry for entry, state in zip(entries, found, strict=True) if state is True]
    return on, [state for state in found if isinstance(state, str)]


async def who_does_not_answer(
    entries: Sequence[Entry], settings: Settings, doors: Doors | None = None
) -> list[str]:
    """Ask every power control for its state; return a line for each that does not tell."""
    doors = doors or Doors(settings)
    await lacking_secrets(entries)  # which may take longer than an answer
    looks = asyncio.Semaphore(ASKED_AT_ONCE)

    async def look(entry: Entry) -> list[str]:
        async with looks:
            _, complaints = await doors.power(entry).examined()
            return [f"{entry.name}: {each.line}" for each in complaints]

    return [line for lines in await asyncio.gather(*map(look, entries)) for line in lines]


async def which_are_up(
    entries: Sequence[Entry], settings: Settings, doors: Doors | None = None
) -> list[Entry]:
    """Return the nodes that accept connections on their ssh port."""
    doors = doors or Doors(settings)
    looks = asyncio.Semaphore(LOOKS)

    async def look(entry: Entry) -> bool:
        async with looks:
            return await doors.accepts(entry, settings.networking.ssh_port, LOOK)

    found = await asyncio.gather(*map(look, entries))
    return [entry for entry, is_up in zip(entries, found, strict=True) if is_up]


async def tell_images(
    entries: Sequence[Entry],
    limit: float | None,
    settings: Settings,
    bus: Bus,
    doors: Doors | None = None,
) -> None:
    """Tell what is on the disk of each node: by its last load, and by its stamp where it is up.

    A node may take `limit` seconds to let us in.
    """
    limit, turns = limit or LETS_IN_S, 1 + len(entries) // SESSIONS
    whole = 2 * limit * turns + BUSY_S
    command = Command("status", entries, whole, doors or Doors(settings), bus)
    command.begin()
    await command.warn_without_lease()
    await require_files(settings.networking)
    notices: list[str] = []
    history = History(command.state_dir)
    last = last_loaded(await asyncio.to_thread(history.runs, notices.append))
    for text in notices:
        command.notice(sanitise(text))

    async def job(node: Node) -> None:
        async with node.enter(Phase.SSH):
            is_up, stamp = await _stamp(node, limit)
            loaded = last.get(node.name)
            if loaded is None and not is_up:
                raise Unreachable(f"no load is noted, and it is {stamp}")
        bus.report(NodeAnswered(node=node.name, text=f"{_words(loaded)}; {stamp}"))

    await command.run(command.nodes(), job, is_noted=False)


async def _stamp(node: Node, limit: float) -> tuple[bool, str]:
    """Tell whether the node let us in, and what is to be said of its stamp."""
    if not await node.system.is_up():
        return False, "not up"
    try:
        lines = (await node.system.look(limit) or "").split("\n")
    except Mistrusted:  # what answers is not the node, so nothing is known of its disk
        raise
    except NodeError as error:
        return False, f"up, but {error}"
    said = [line for line in lines if line.strip()]
    return True, f"stamped {said[-1].strip()}" if said else "without a stamp"


def _words(loaded: Loaded | None) -> str:
    if loaded is None:
        return "no load is noted"
    when = f"{datetime.fromtimestamp(loaded.started).astimezone():%Y-%m-%d %H:%M}"
    part = "" if loaded.whole else "in part "
    return f"loaded {part}with {loaded.name} on {when}"
