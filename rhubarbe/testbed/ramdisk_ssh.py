"""The same shell of a ramdisk by ssh: whoever has the key is root on a pseudo-terminal."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from rhubarbe.testbed.door import Door
from rhubarbe.testbed.shell import PIECE, Bash, ServedShell, answer_with_reset

NO_COMMANDS = b"this ramdisk has a shell only: no commands\r\n"


class _SshWire:
    """The channel of one shell."""

    def __init__(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        self._process = process
        self._connection = process.channel.get_connection()

    async def read(self) -> bytes:
        """Read what the client types, as it comes; empty at the end."""
        while True:
            with suppress(asyncssh.TerminalSizeChanged, asyncssh.SignalReceived):
                try:
                    return await self._process.stdin.read(PIECE)
                except asyncssh.Error as error:
                    raise OSError(str(error)) from error

    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._process.stdout.write(data)

    async def drain(self) -> None:
        """Wait until the client takes more."""
        await self._process.stdout.drain()

    def close(self) -> None:
        """End well."""
        with suppress(OSError):  # the client has closed it already
            self._process.exit(0)

    def cut(self) -> None:
        """End as a machine that loses its power."""
        answer_with_reset(self._connection.get_extra_info("socket"))
        self._connection.abort()


@dataclass(frozen=True, slots=True)
class Lock:
    """A server's host key, and the file of the public keys that it lets in."""

    host_key: asyncssh.SSHKey
    authorized: Path


class RamdiskSsh:
    """The ssh server of one machine while it runs the ramdisk; `tasks` runs its sessions."""

    def __init__(
        self,
        place: tuple[str, int],
        bash: Bash,
        lock: Lock,
        tasks: asyncio.TaskGroup,
        drops: Callable[[], bool],
    ) -> None:
        self._place = place
        self._bash = bash
        self._lock = lock
        self._tasks = tasks
        self._drops = drops
        self._sessions: set[ServedShell] = set()
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def open(self) -> None:
        """Listen; raises OSError."""
        address, port = self._place
        self._acceptor = await asyncssh.listen(
            address,
            port,
            server_factory=lambda: Door(self._connections),
            server_host_keys=[self._lock.host_key],
            authorized_client_keys=str(self._lock.authorized),
            process_factory=self._begin,
            encoding=None,
            line_editor=False,
            config=None,
            login_timeout=20,
        )

    def abort(self) -> None:
        """Stop at once: no listener, no connection, no process."""
        if self._acceptor is not None:
            self._acceptor.close()
        for session in list(self._sessions):
            session.abort()
        for connection in list(self._connections):
            connection.abort()

    def _begin(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        if process.command is not None:
            process.stderr.write(NO_COMMANDS)
            process.exit(127)
            return
        session = ServedShell(_SshWire(process), self._drops)
        self._sessions.add(session)
        task = self._tasks.create_task(session.run(self._bash))
        task.add_done_callback(lambda _: self._sessions.discard(session))
