"""Programs that serve the power of machines, each for the length of a context."""

import asyncio
import secrets
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rhubarbe.annexe.errors import ProgramFailed
from rhubarbe.annexe.programs import last_line
from rhubarbe.testbed import namespace
from rhubarbe.testbed.controls import outside

START_LIMIT_S = 20.0
LOOK_EVERY_S = 0.02


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


@asynccontextmanager
async def serving(
    words: Sequence[str], log: Path, is_ready: Callable[[], Awaitable[bool]]
) -> AsyncIterator[None]:
    """Run a program until the end of the context, from when it is ready on.

    It is killed with us. Raises ProgramFailed.
    """
    with log.open("wb") as said:
        child = await asyncio.create_subprocess_exec(
            *namespace.killed_with_us(*words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while not await is_ready():
                if child.returncode is not None:
                    raise _failure(words, log)
                await asyncio.sleep(LOOK_EVERY_S)
        yield
    except TimeoutError:
        raise ProgramFailed(f"{Path(words[0]).name} is not ready in {START_LIMIT_S:g} s") from None
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


def _failure(words: Sequence[str], log: Path) -> ProgramFailed:
    return ProgramFailed(f"{Path(words[0]).name}: {last_line(log.read_bytes())}")
