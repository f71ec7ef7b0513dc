"""The image server as a child process, on a multicast group and port that nobody else uses.

Ours or Emulab's, which take the same options. The server itself says when it is ready: both write
`group:port` where `-A` tells them, here into a pipe.
"""

import asyncio
import contextlib
import os
import random
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from rhubarbe.bus import Bus
from rhubarbe.config.settings import FrisbeeSettings, NetworkingSettings
from rhubarbe.errors import GatewayError
from rhubarbe.events import ImageServed, ServerSaid
from rhubarbe.gateway.guardian import Guardian
from rhubarbe.gateway.programs import end_process, find_program

PORT_IN_USE = 98
START_LIMIT = 15.0
# How long words may still come once who wrote them has ended: others may hold the pipe open.
LAST_WORDS = 1.0
LONGEST_LINE = 2000
BITS_PER_MIBIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Session:
    """Where an image is served."""

    group: str
    port: int


class _Words(asyncio.Protocol):
    """What the server writes to its standard error, line by line, from its first moment on.

    It is never held up; of a line that is too long only the end is kept.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.last_line = ""
        self._tell = tell
        self._rest = b""
        self._over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        *lines, rest = (self._rest + data.replace(b"\r", b"\n")).split(b"\n")
        self._rest = rest[-LONGEST_LINE:]
        for line in lines:
            self._say(line)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end, and what came without the end of a line."""
        self._say(self._rest)
        self._over.set()

    def _say(self, line: bytes) -> None:
        if text := line[-LONGEST_LINE:].decode("utf-8", "replace").strip():
            self.last_line = text
            self._tell(text)

    async def over(self) -> None:
        """Wait for the last words, for a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._over.wait()


class Frisbeed:
    """A running image server; made by `serve`, which also ends it."""

    def __init__(
        self, process: asyncio.subprocess.Process, session: Session, words: _Words
    ) -> None:
        self.session = session
        self._process = process
        self._words = words

    @property
    def pid(self) -> int:
        """The number of the server's process."""
        return self._process.pid

    @property
    def last_line(self) -> str:
        """The last thing that the server said, or nothing."""
        return self._words.last_line

    async def ended(self) -> int:
        """Wait for the server's end and its last words; return its status."""
        status = await self._process.wait()
        await self._words.over()
        return status

    async def alarm(self) -> NoReturn:
        """Wait for the server's end, which nobody asked for: raises GatewayError."""
        status = await self.ended()
        raise GatewayError(f"the image server ended with status {status}: {self.last_line}")


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

    One session after the other is tried, until the server takes one. The guardian, if any, knows
    the server from its first moment on.
    """
    arguments = [
        find_program(programs.server),
        *("-i", address, "-W", str(bandwidth_mibps * BITS_PER_MIBIT)),
        *shlex.split(programs.server_options),
    ]
    with contextlib.ExitStack() as guarded:
        guard = _Guard(guardian, guarded) if guardian else None
        for session in _sessions(networking):
            async with _started(arguments, image, session, bus, guard) as server:
                if server is None:
                    continue
                bus.report(
                    ImageServed(
                        group=session.group, port=session.port, bandwidth_mibps=bandwidth_mibps
                    )
                )
                yield server
                return
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


@contextlib.asynccontextmanager
async def _started(
    arguments: list[str], image: Path, session: Session, bus: Bus, guard: _Guard | None
) -> AsyncIterator[Frisbeed | None]:
    """Run a server, and yield it once it says that it is ready; None when its port is taken."""
    words = _Words(lambda line: bus.report(ServerSaid(line=line)))
    reader = asyncio.StreamReader()
    async with (
        _pipe(lambda: words) as stderr,
        _pipe(lambda: asyncio.StreamReaderProtocol(reader)) as ready,
    ):
        where = ["-m", session.group, "-p", str(session.port), "-A", f"/dev/fd/{ready.fileno()}"]
        try:
            async with _child([*arguments, *where, str(image)], stderr, ready, guard) as process:
                server = Frisbeed(process, session, words)
                yield server if await _is_ready(server, reader, arguments[0]) else None
        finally:
            await words.over()


@contextlib.asynccontextmanager
async def _pipe(protocol: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[IO[bytes]]:
    """Yield the end of a pipe that a child writes into; what it writes goes to the protocol."""
    ends = os.pipe()
    with open(ends[0], "rb", buffering=0) as out, open(ends[1], "wb", buffering=0) as into:  # noqa: ASYNC230, PTH123 - a pipe
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(protocol, out)
        try:
            yield into
        finally:
            transport.close()


@contextlib.asynccontextmanager
async def _child(
    command: list[str], stderr: IO[bytes], ready: IO[bytes], guard: _Guard | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command for the length of the context; the pipes become its own."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=[ready.fileno()],
            start_new_session=True,
            env=os.environ | (guard.environ if guard else {}),
        )
    except OSError as error:
        raise GatewayError(f"{command[0]}: cannot be run: {error.strerror}") from error
    finally:
        stderr.close()
        ready.close()
    try:
        if guard is not None:
            guard.add(process.pid)
        yield process
    finally:
        await end_process(process)


async def _is_ready(server: Frisbeed, reader: asyncio.StreamReader, program: str) -> bool:
    """Wait until the server says that it serves; false where its port is taken."""
    try:
        async with asyncio.timeout(START_LIMIT):
            if await reader.readline():
                return True
    except TimeoutError as error:
        raise GatewayError(
            f"the image server did not say in {START_LIMIT:g} s that it is ready"
        ) from error
    if (status := await server.ended()) == PORT_IN_USE:
        return False
    raise GatewayError(f"the image server {program} ended with status {status}: {server.last_line}")
