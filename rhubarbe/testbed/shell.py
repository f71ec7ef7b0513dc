"""The shell of a machine booted on the ramdisk: bash on a pseudo-terminal; by telnet, no login.

A session ends when its shell exits, when the client closes, or when the machine is reset. What ran
in it ends too, save what a shell that exits leaves in the background: that goes on, as on any
machine, until the machine loses its power.
"""

import asyncio
import logging
import os
import re
import signal
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import telnetlib3

from rhubarbe.testbed.terminal import Terminal

# Its warnings of clients that negotiate little would appear among the lines of a command.
logging.getLogger("telnetlib3").setLevel(logging.CRITICAL)

PIECE = 1 << 16
NICENESS = 10
LOOK_EVERY_S = 0.1  # whether what a shell left in the background has ended
LEFT_S = 0.3  # for the last words of a shell that leaves something there
GRACE_S = 1.0  # between asking a session's processes to end and killing them
NEGOTIATION_S = 0.2  # for a client that answers no telnet option
# what the imaging programs show while they work: a line that starts with marks of progress
IMAGING = re.compile(rb"(?:^|\n)[.sz]{4}")
TAIL = 64
CLOSE_WITH_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Bash:
    """How a node's shell is started."""

    program: str
    profile: Path
    directory: Path
    environment: Mapping[str, str]

    async def start(self, terminal: str) -> asyncio.subprocess.Process:
        """Start a shell whose controlling terminal is the one of this name."""
        # a session leader gets the first terminal that it opens: no code between fork and exec
        script = 'exec "$0" --noprofile --rcfile "$1" --noediting -i <"$2" >"$2" 2>&1'
        shell = await asyncio.create_subprocess_exec(
            *(self.program, "-c", script, self.program, str(self.profile), terminal),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self.directory,
            env=dict(self.environment),
            start_new_session=True,
        )
        _lower_priority(shell.pid)
        return shell


def _lower_priority(session: int) -> None:
    """Lower the priority of a session: this process also serves the power cards, which must answer.

    A kernel with autogroups, one a session, regards the value of the autogroup only.
    """
    with suppress(OSError):  # it has ended; set too often without being root; no autogroups
        os.setpriority(os.PRIO_PROCESS, session, NICENESS)
        Path(f"/proc/{session}/autogroup").write_text(str(NICENESS), encoding="ascii")


class Wire(Protocol):
    """What lies between a client and a session."""

    async def read(self) -> bytes:
        """Read what the client types, as it comes; empty at the end."""

    def write(self, data: bytes) -> None:
        """Send to the client."""

    async def drain(self) -> None:
        """Wait until the client takes more."""

    def close(self) -> None:
        """End well."""

    def cut(self) -> None:
        """End as a machine that loses its power."""


class ServedShell:
    """One connection and its shell; `drops` says whether the fault of that name is due."""

    def __init__(self, wire: Wire, drops: Callable[[], bool]) -> None:
        self._wire = wire
        self._drops = drops
        self._leader: int | None = None
        self._tail = b""

    async def run(self, bash: Bash) -> None:
        """Serve until the end of the session, and of all that it leaves; no descriptor is left."""
        try:
            try:
                await self._run(bash)
            except OSError as error:  # no terminal, process or descriptor is left on this machine
                self._wire.write(f"no shell: {error.strerror}\r\n".encode())
            finally:
                self._wire.close()
            await self._all_have_ended()
        finally:
            self._signal(signal.SIGKILL)
            self._leader = None

    async def _run(self, bash: Bash) -> None:
        terminal = Terminal()
        try:
            shell = await bash.start(terminal.name)
            self._leader = shell.pid
            try:
                await self._serve(shell, terminal)
            finally:
                if shell.returncode is None:
                    self._signal(signal.SIGKILL)
                    await shell.wait()
        finally:
            terminal.close()

    async def _all_have_ended(self) -> None:
        leader = self._leader
        while leader is not None and any(processes_of_session(leader)):  # noqa: ASYNC110 - no event
            await asyncio.sleep(LOOK_EVERY_S)

    def abort(self) -> None:
        """End everything at once, as a machine that loses its power."""
        self._signal(signal.SIGKILL)
        self._wire.cut()

    async def _serve(self, shell: asyncio.subprocess.Process, terminal: Terminal) -> None:
        async with asyncio.TaskGroup() as tasks:
            inward = tasks.create_task(self._relay_in(terminal))
            outward = tasks.create_task(self._relay_out(terminal))
            over = tasks.create_task(shell.wait())
            await asyncio.wait({inward, over}, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                await self._hang_up(shell)
                self._signal(signal.SIGKILL)
            terminal.hang_up()
            # pass on what the shell wrote last, unless the client is gone; what it left in the
            # background may hold the terminal open, as busybox's telnetd does not wait for either
            limit_s = LEFT_S if any(processes_of_session(shell.pid)) else None
            await asyncio.wait(
                {inward, outward}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
            )
            inward.cancel()
            outward.cancel()

    async def _hang_up(self, shell: asyncio.subprocess.Process) -> None:
        self._signal(signal.SIGHUP)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await shell.wait()

    async def _relay_in(self, terminal: Terminal) -> None:
        """Pass on what the client types, until it is gone."""
        with suppress(OSError):
            while data := await self._wire.read():
                await terminal.write(data)

    async def _relay_out(self, terminal: Terminal) -> None:
        """Pass on what the shell and its commands write, at the pace of the client."""
        with suppress(OSError):
            while data := await terminal.read():
                self._wire.write(data)
                await self._wire.drain()
                if self._is_imaging(data) and self._drops():
                    self._wire.cut()
                    return

    def _is_imaging(self, data: bytes) -> bool:
        seen = self._tail + data
        self._tail = seen[-TAIL:]
        return IMAGING.search(seen) is not None

    def _signal(self, number: signal.Signals) -> None:
        if self._leader is not None:
            signal_session(self._leader, number)


def signal_session(leader: int, number: signal.Signals) -> None:
    """Send a signal to every process of a session: a shell gives each job a group of its own."""
    for _ in range(2):  # once more for processes that were started in between
        for process in processes_of_session(leader):
            with suppress(ProcessLookupError):
                os.kill(process, number)


def processes_of_session(leader: int) -> Iterator[int]:
    """Yield the processes of a session; its number is nobody else's as long as there is one."""
    for entry in Path("/proc").iterdir():
        with suppress(ValueError, ProcessLookupError):
            if os.getsid(process := int(entry.name)) == leader:
                yield process


class TelnetWire:
    """A telnet connection."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader: telnetlib3.TelnetReader = reader
        self._writer: telnetlib3.TelnetWriter = writer
        self._after_return = False

    async def read(self) -> bytes:
        """Read what the client types, as it comes; empty at the end."""
        return self._as_typed(await self._reader.read(PIECE))

    def _as_typed(self, data: bytes) -> bytes:
        """Telnet's ends of line (CR LF and CR NUL, wherever they are split) as one key."""
        if self._after_return and data[:1] in (b"\n", b"\0"):
            data = data[1:]
        self._after_return = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r\0", b"\n")

    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the client takes more."""
        await self._writer.drain()

    def close(self) -> None:
        """End well."""
        self._writer.close()

    def cut(self) -> None:
        """End as a machine that loses its power."""
        transport = self._writer.transport
        if isinstance(transport, asyncio.Transport):
            answer_with_reset(transport.get_extra_info("socket"))
            transport.abort()


def answer_with_reset(connection: socket.socket | None) -> None:
    """Have a connection, if there is one, answer with a reset once it is closed."""
    if connection is None:
        return
    with suppress(OSError):  # closed by the other side at the same moment
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_WITH_RESET)


class TelnetService:
    """The telnet server of one machine while it runs the ramdisk; `tasks` runs its sessions."""

    def __init__(
        self,
        place: tuple[str, int],
        bash: Bash,
        tasks: asyncio.TaskGroup,
        drops: Callable[[], bool],
    ) -> None:
        self._place = place
        self._bash = bash
        self._tasks = tasks
        self._drops = drops
        self._sessions: set[ServedShell] = set()
        self._server: telnetlib3.server.Server | None = None

    async def open(self) -> None:
        """Listen; raises OSError."""
        address, port = self._place
        self._server = await telnetlib3.create_server(
            host=address,
            port=port,
            shell=self._begin,
            encoding=False,
            connect_maxwait=NEGOTIATION_S,
            timeout=0,
            compression=False,
        )

    def abort(self) -> None:
        """Stop at once: no listener, no connection, no process."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.abort()

    def _begin(self, reader: Any, writer: Any) -> Any:  # a coroutine's place, but none is needed
        session = ServedShell(TelnetWire(reader, writer), self._drops)
        self._sessions.add(session)
        task = self._tasks.create_task(session.run(self._bash))
        task.add_done_callback(lambda _: self._sessions.discard(session))
