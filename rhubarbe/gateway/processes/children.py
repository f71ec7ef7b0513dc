"""A program that runs on this gateway for as long as it is needed, and what it says meanwhile."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import IO, NoReturn

from rhubarbe.errors import GatewayError
from rhubarbe.gateway.processes.guardian import Guardian
from rhubarbe.gateway.processes.programs import end_process

# How long to read on once a child has ended: its own children may hold the pipe open.
LAST_WORDS_S = 1.0
LONGEST_LINE = 2000


class _Words(asyncio.Protocol):
    """What a child writes, line by line, from its first moment on.

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
            async with asyncio.timeout(LAST_WORDS_S):
                await self._over.wait()


class Child:
    """A running program; made by `run_child`, which also ends it."""

    def __init__(self, process: asyncio.subprocess.Process, words: _Words, name: str) -> None:
        self._process = process
        self._words = words
        self._name = name

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def last_line(self) -> str:
        """The last thing that it said, or nothing."""
        return self._words.last_line

    async def ended(self) -> int:
        """Wait for its end and its last words; return its status."""
        status = await self._process.wait()
        await self._words.over()
        return status

    async def until(self, ready: asyncio.Event, limit_s: float) -> bool:
        """Wait for what tells that it is ready; false where it ended before.

        Raises GatewayError after `limit_s` seconds.
        """
        try:
            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
                either = {group.create_task(self.ended()), group.create_task(ready.wait())}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                for task in either:
                    task.cancel()
        except TimeoutError as error:
            raise GatewayError(
                f"{self._name} did not say in {limit_s:g} s that it is ready"
            ) from error
        return ready.is_set()

    def failure(self, status: int) -> GatewayError:
        """Return what to raise where it ended with this status, and should not have."""
        return GatewayError(f"{self._name} ended with status {status}: {self.last_line}")

    async def alarm(self) -> NoReturn:
        """Wait for its end, which nobody asked for: raises GatewayError."""
        raise self.failure(await self.ended())


@contextlib.asynccontextmanager
async def run_child(
    command: Sequence[str],
    tell: Callable[[str], None],
    guardian: Guardian | None,
    *,
    name: str,
    pass_fds: Sequence[int] = (),
    environ: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Child]:
    """Run a program for the length of the context; `tell` is called with each line of its words.

    Its environment is ours, and `environ`. The guardian, if any, knows it from its first moment on.
    `name` is what errors call it. Raises GatewayError.
    """
    words = _Words(tell)
    async with pipe(lambda: words) as into:
        whole = os.environ | (guardian.environ if guardian else {}) | {**environ}
        process = await _start(command, into, pass_fds, whole)
        try:
            with guardian.guarding_child(process.pid) if guardian else contextlib.nullcontext():
                try:
                    yield Child(process, words, name)
                finally:
                    await end_process(process)
        finally:
            await words.over()


async def _start(
    command: Sequence[str], into: IO[bytes], pass_fds: Sequence[int], environ: dict[str, str]
) -> asyncio.subprocess.Process:
    """Start a program that writes into a pipe, whose end here is closed."""
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=into,
            stderr=into,
            pass_fds=pass_fds,
            start_new_session=True,
            env=environ,
        )
    except OSError as error:
        raise GatewayError(f"{command[0]}: cannot be run: {error.strerror}") from error
    finally:
        into.close()


@contextlib.asynccontextmanager
async def pipe(protocol: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[IO[bytes]]:
    """Yield the end of a pipe that a child writes into; what it writes goes to the protocol."""
    ends = os.pipe()
    with open(ends[0], "rb", buffering=0) as out, open(ends[1], "wb", buffering=0) as into:  # noqa: ASYNC230, PTH123 - a pipe
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(protocol, out)
        try:
            yield into
        finally:
            transport.close()
