"""The image server as a child process, on a multicast group and port that nobody else uses.

Ours or Emulab's, which take the same options. The server itself says when it is ready: both write
`group:port` where `-A` tells them, here into a pipe.
"""

import asyncio
import contextlib
import os
import random
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rhubarbe.bus import Bus
from rhubarbe.config.settings import FrisbeeSettings, NetworkingSettings
from rhubarbe.errors import GatewayError
from rhubarbe.events import ImageServed, ServerSaid
from rhubarbe.gateway.guardian import Guardian
from rhubarbe.gateway.programs import end_process, find_program

PORT_IN_USE = 98
START_LIMIT = 15.0
BITS_PER_MIBIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Session:
    """Where an image is served."""

    group: str
    port: int


class Frisbeed:
    """A running image server; made by `serve`, which also ends it."""

    def __init__(self, process: asyncio.subprocess.Process, session: Session) -> None:
        self.session = session
        self._process = process
        self._last_line = ""

    @property
    def pid(self) -> int:
        """The number of the server's process."""
        return self._process.pid

    async def follow(self, bus: Bus) -> None:
        """Report what the server says, until it ends."""
        async for line in _lines(self._process):
            self._last_line = line
            bus.report(ServerSaid(line=line))

    async def alarm(self) -> NoReturn:
        """Wait for the server's end, which nobody asked for: raises GatewayError."""
        status = await self._process.wait()
        raise GatewayError(f"the image server ended with status {status}: {self._last_line}")


class _Guard:
    """Has the guardian know children, for as long as `guarded` is open."""

    def __init__(self, guardian: Guardian, guarded: contextlib.ExitStack) -> None:
        self.environ = guardian.environ
        self._guardian = guardian
        self._guarded = guarded

    def add(self, pid: int) -> None:
        self._guarded.enter_context(self._guardian.guarding_child(pid))


@contextlib.asynccontextmanager
async def serve(  # noqa: PLR0913 - one argument a thing that it needs
    image: Path,
    *,
    address: str,
    bandwidth_mibps: int,
    programs: FrisbeeSettings,
    networking: NetworkingSettings,
    bus: Bus,
    guardian: Guardian | None = None,
) -> AsyncIterator[Frisbeed]:
    """Serve an image from our `address` for the length of the context; raises GatewayError.

    The guardian, if any, knows the server from its first moment on.
    """
    arguments = [
        find_program(programs.server),
        *("-i", address, "-W", str(bandwidth_mibps * BITS_PER_MIBIT)),
        *shlex.split(programs.server_options),
    ]
    with contextlib.ExitStack() as guarded:
        process, session = await _start(
            arguments, image, networking, _Guard(guardian, guarded) if guardian else None
        )
        async with _following(process, session, bus) as server:
            bus.report(
                ImageServed(group=session.group, port=session.port, bandwidth_mibps=bandwidth_mibps)
            )
            yield server


@contextlib.asynccontextmanager
async def _following(
    process: asyncio.subprocess.Process, session: Session, bus: Bus
) -> AsyncIterator[Frisbeed]:
    """Report what a server says, and end it on the way out."""
    try:
        server = Frisbeed(process, session)
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(server.follow(bus))
            yield server
            await end_process(process)
            await follower
    finally:
        await end_process(process)


async def _start(
    arguments: list[str],
    image: Path,
    networking: NetworkingSettings,
    guard: _Guard | None,
) -> tuple[asyncio.subprocess.Process, Session]:
    """Try one session after the other, until the server takes one."""
    for session in _sessions(networking):
        where = ["-m", session.group, "-p", str(session.port)]
        process = await _start_at([*arguments, *where], image, guard)
        if process is not None:
            return process, session
    raise GatewayError(
        f"all {networking.pattern_size} groups and ports are in use; wait, or raise pattern_size"
    )


def _sessions(networking: NetworkingSettings) -> Iterator[Session]:
    """Yield each session once, from a random one on.

    A client left over from a session that died must not meet the next session in its place.
    """
    base = int(networking.pattern_port.partition("+")[0])
    ranks = list(range(1, networking.pattern_size + 1))
    random.shuffle(ranks)
    for rank in ranks:
        yield Session(networking.pattern_multicast.replace("*", str(rank)), base + rank)


async def _start_at(
    arguments: list[str], image: Path, guard: _Guard | None
) -> asyncio.subprocess.Process | None:
    """Start the server; return it once it says that it is ready, None when its port is taken."""
    readable, writable = os.pipe()
    with open(readable, "rb", buffering=0) as ready:  # noqa: ASYNC230, PTH123 - a pipe
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                *("-A", f"/dev/fd/{writable}"),
                str(image),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[writable],
                start_new_session=True,
                env=os.environ | (guard.environ if guard else {}),
            )
        finally:
            os.close(writable)
        if guard is not None:
            guard.add(process.pid)
        try:
            if await _says_ready(ready):
                return process
            lines = [line async for line in _lines(process)]
            status = await process.wait()
        except BaseException:
            await end_process(process)
            raise
    if status == PORT_IN_USE:
        return None
    raise GatewayError(
        f"the image server {arguments[0]} ended with status {status}: {lines[-1] if lines else ''}"
    )


async def _says_ready(pipe: Any) -> bool:
    """Wait for the line that says where the image is served; false when the server ends first."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async with asyncio.timeout(START_LIMIT):
            return bool(await reader.readline())
    except TimeoutError as error:
        raise GatewayError(
            f"the image server did not say in {START_LIMIT:g} s that it is ready"
        ) from error
    finally:
        transport.close()


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    """Yield what a process writes to its standard error, line by line, whatever their length."""
    if process.stderr is None:
        raise RuntimeError("a process whose lines are read needs a pipe")
    rest = b""
    while piece := await process.stderr.read(4096):
        *lines, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if text := line.decode("utf-8", "replace").strip():
                yield text
    if rest:
        yield rest.decode("utf-8", "replace").strip()
