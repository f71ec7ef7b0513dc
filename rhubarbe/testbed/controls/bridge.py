"""A way from programs of others to the switches: a socket, a line `NODE VERB`, a line as answer.

What serves the power of machines by another's program has that run outside.py, which asks, or asks
so by itself.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rhubarbe.testbed.boot import Key
from rhubarbe.testbed.controls import outside
from rhubarbe.testbed.controls.base import Switch

Verb = Callable[[Switch, str], str]
"""Does what a verb says with a switch, and returns the answer in a line."""


def power(switch: Switch, verb: str) -> str:
    """Answer `status`, `on`, `off` and `reset` as a power card does."""
    if verb == "status":
        return "on" if switch.shows_power else "off"
    switch.press(Key(verb))
    return "ok"


@asynccontextmanager
async def bridged(
    path: Path, switches: Sequence[Switch], answer: Verb = power
) -> AsyncIterator[None]:
    """Listen at `path` for lines `NODE VERB`, and answer each with a line, up to the end.

    The faults of the way to a control happen here: `card-silent` says nothing, `card-dead` hangs
    up, `card-500`, `card-refuses` and `card-half` are the answer, and a slow one takes its time.
    """
    by_name = {switch.name: switch for switch in switches}
    talks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (talk := asyncio.current_task()) is not None:
            talks.add(talk)
            talk.add_done_callback(talks.discard)
        try:
            while line := await reader.readline():
                name, _, verb = line.decode().strip().partition(" ")
                said = await _answer(by_name[name], verb, answer)
                writer.write(f"{said}\n".encode())
        except (ConnectionError, KeyError, ValueError, asyncio.CancelledError):
            pass  # whoever asked is gone, or is not one of ours; or the testbed ends
        finally:
            writer.transport.abort()

    with _listener(path) as listener:
        server = await asyncio.start_unix_server(accepted, sock=listener)
        try:
            yield
        finally:
            server.close()
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)


async def _answer(switch: Switch, verb: str, answer: Verb) -> str:
    key = next((each for each in Key if each == verb), None)
    if switch.meets("card-silent", key):
        await asyncio.Event().wait()
    if switch.meets("card-dead", key):
        raise ConnectionError
    if key is not None or verb == "status":
        await switch.think(key)
    for fault in ("card-500", "card-refuses", "card-half"):
        if switch.meets(fault, key):
            return fault
    return answer(switch, verb)


@contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    with outside.short(str(path)) as name, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        path.chmod(0o600)
        yield listener
