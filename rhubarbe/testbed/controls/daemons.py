"""Programs that serve the power of machines, each for the length of a context."""

import asyncio
import secrets
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from rhubarbe.annexe.errors import ProgramFailed
from rhubarbe.annexe.programs import last_line
from rhubarbe.testbed import namespace
from rhubarbe.testbed.controls import halves, outside
from rhubarbe.testbed.controls.base import Switch
from rhubarbe.testbed.controls.bridge import bridged
from rhubarbe.testbed.site import Site

START_LIMIT_S = 20.0
LOOK_EVERY_S = 0.02
WRONG = "another-password"  # which controls have that refuse ours; ipmi_sim reads no blanks


def switching(socket: Path, role: str, *words: str) -> list[str]:
    """Return the command that switches a machine from outside, by the bridge at this socket."""
    # As quick as Python starts: an answer of the suite's controls waits for it.
    return [sys.executable, "-I", "-S", outside.__file__, str(socket), role, *words]


def as_text(words: Sequence[str]) -> str:
    """Write a command as a shell reads it."""
    return shlex.join(words)


def write_hidden(path: Path, text: str) -> None:
    """Write a file that only we can read."""
    path.touch(mode=0o600)
    path.write_text(text)


def new_password(path: Path) -> str:
    """Return a new password, which is in this file from now on."""
    password = secrets.token_hex(8)
    write_hidden(path, f"{password}\n")
    return password


class Simulated(Protocol):
    """What serves the power of one machine."""

    def __call__(
        self, directory: Path, bridge: Path, node: str, place: tuple[str, int], password: str
    ) -> AbstractAsyncContextManager[None]:
        """Serve at this place, with files in a directory of its own; raises ProgramFailed."""


@asynccontextmanager
async def of_each(
    simulated: Simulated,
    kind: str,
    site: Site,
    switches: Sequence[Switch],
    port: int,
    password: str,
) -> AsyncIterator[None]:
    """Serve the power of each of these machines by a program of its own, with one password."""
    bridge = site.run / f"{kind}.bridge"
    async with bridged(bridge, switches), AsyncExitStack() as ends:
        for switch in switches:
            if switch.listens:
                wanted = WRONG if switch.meets("card-refuses", None) else password
                directory, place = site.run / f"{kind}-{switch.name}", (switch.address, port)
                if switch.meets("card-half", None):
                    behind = (switch.address, port + 1)
                    ends.enter_context(halves.halved(place, behind))
                    place = behind
                one = simulated(directory, bridge, switch.name, place, wanted)
                await ends.enter_async_context(one)
        yield


@asynccontextmanager
async def serving(
    words: Sequence[str],
    log: Path,
    is_ready: Callable[[], Awaitable[bool]],
    *,
    name: str = "",
    within_s: float = START_LIMIT_S,
) -> AsyncIterator[None]:
    """Run a program until the end of the context, from when it is ready on; messages say its name.

    It is killed with us. Raises ProgramFailed.
    """
    called = name or Path(words[0]).name
    with log.open("wb") as said:
        child = await asyncio.create_subprocess_exec(
            *namespace.killed_with_us(*words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(within_s):
            while not await is_ready():
                if child.returncode is not None:
                    raise _failure(called, log)
                await asyncio.sleep(LOOK_EVERY_S)
        yield
    except TimeoutError:
        raise ProgramFailed(f"{called} is not ready in {within_s:g} s") from None
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


def _failure(called: str, log: Path) -> ProgramFailed:
    return ProgramFailed(f"{called}: {last_line(log.read_bytes())}")
