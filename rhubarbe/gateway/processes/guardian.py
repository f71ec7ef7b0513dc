"""The guardian, a process that outlives ours: removes its links and ends its children if it dies.

It is told of each link before the link is made, and of each child once that has a number. When it
dies itself, it is replaced, and the new one told all that is still to be guarded.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from rhubarbe.errors import GatewayError
from rhubarbe.gateway.processes import guardian_program
from rhubarbe.gateway.processes.programs import end_process

MARK = "RHUBARBE_GUARDED"

GuardedThing = tuple[str, str, str]


class Guardian:
    """A guardian process; an async context manager. `watch` must run beside the work."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._pipe = -1
        self._guarded: dict[str, GuardedThing] = {}
        self._token = secrets.token_hex(16)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell("bye", "-", "-")
        os.close(self._pipe)
        self._pipe = -1
        if self._process is not None:
            try:
                async with asyncio.timeout(1):
                    await self._process.wait()
            except TimeoutError:
                await end_process(self._process)

    async def _start(self) -> None:
        readable, self._pipe = os.pipe()
        # Blocked signals are inherited: so none ends the guardian before it ignores them itself.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, guardian_program.IGNORED)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", guardian_program.__file__),
                stdin=readable,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._pipe)
            raise GatewayError(f"the guardian of links cannot be started: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(readable)
        self._tell("mark", f"{MARK}={self._token}", "-")
        for record in self._guarded.values():
            self._tell(*record)

    @property
    def environ(self) -> dict[str, str]:
        """What to put into a child's environment: it is found by that before its number is told."""
        return {MARK: self._token}

    async def watch(self) -> None:
        """Replace a guardian that ends before it is told to; run until cancelled."""
        while self._process is not None:
            await self._process.wait()
            os.close(self._pipe)
            await self._start()

    @contextlib.contextmanager
    def guarding_link(self, path: Path, target: str) -> Iterator[None]:
        """Have a link removed should we die within the context; to be entered before it is made."""
        with self._guarding(("link", os.fspath(path), target), "unlink"):
            yield

    @contextlib.contextmanager
    def guarding_child(self, pid: int) -> Iterator[None]:
        """Have a child ended should we die within the context."""
        with self._guarding(("child", str(pid), guardian_program.start_of(str(pid))), "childless"):
            yield

    @contextlib.contextmanager
    def _guarding(self, record: GuardedThing, opposite: str) -> Iterator[None]:
        self._guarded[record[1]] = record
        self._tell(*record)
        try:
            yield
        finally:
            del self._guarded[record[1]]
            self._tell(opposite, record[1], "-")

    def _tell(self, *record: str) -> None:
        # Where the guardian has died, the one that replaces it is told all of it.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"".join(os.fsencode(field) + b"\0" for field in record))
