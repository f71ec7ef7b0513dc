"""The ssh service of a machine booted from its disk; it knows what is on that disk, no more."""

import shlex
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncssh

from rhubarbe.testbed.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KEYS = "/root/.ssh/authorized_keys"
Answer = tuple[int, str]


class System:
    """A running system: answers a few commands from its disk; `halt` switches its machine off."""

    def __init__(self, disk: Disk, halt: "Callable[[], None]") -> None:
        self.disk = disk
        self._halt = halt
        self._boot_id = str(uuid.uuid4())
        self._started = time.monotonic()
        self._commands: dict[str, Callable[[list[str]], Awaitable[Answer]]] = {
            "cat": self._cat,
            "echo": self._echo,
            "false": self._false,
            "hostname": self._hostname,
            "ls": self._ls,
            "shutdown": self._shutdown,
            "true": self._true,
            "uname": self._uname,
            "uptime": self._uptime,
            "whoami": self._whoami,
        }

    async def run(self, command: str | None) -> Answer:
        """Run a command line: its exit status, and its output with the errors in it."""
        try:
            words = shlex.split(command or "")
        except ValueError as error:
            return 2, f"sh: {error}\n"
        if not words:
            return 1, "this machine has no interactive shell: give a command\n"
        program = self._commands.get(words[0].rpartition("/")[2])
        if program is None:
            return 127, f"sh: {words[0]}: command not found\n"
        return await program(words[1:])

    async def _content(self, path: str) -> bytes | None:
        if path == "/proc/sys/kernel/random/boot_id":
            return f"{self._boot_id}\n".encode()
        if path == "/proc/uptime":
            return f"{time.monotonic() - self._started:.2f} 0.00\n".encode()
        return await self.disk.read(path)

    async def _cat(self, words: list[str]) -> Answer:
        status, output = 0, ""
        for path in words:
            content = await self._content(path)
            if content is None:
                status = 1
                output += f"cat: {path}: No such file or directory\n"
            else:
                output += content.decode(errors="replace")
        return status, output

    async def _ls(self, words: list[str]) -> Answer:
        status, output = 0, ""
        for path in [word for word in words if not word.startswith("-")] or ["/root"]:
            names = await self.disk.names(path)
            if names is None:
                status = 2
                output += f"ls: cannot access '{path}': No such file or directory\n"
            else:
                output += "".join(f"{name}\n" for name in names)
        return status, output

    async def _hostname(self, _: list[str]) -> Answer:
        return await self._cat(["/etc/hostname"])

    async def _uname(self, words: list[str]) -> Answer:
        return 0, "Linux emulated #1 x86_64\n" if "-a" in words else "Linux\n"

    async def _uptime(self, _: list[str]) -> Answer:
        return 0, f"up {time.monotonic() - self._started:.0f} seconds\n"

    async def _echo(self, words: list[str]) -> Answer:
        return 0, " ".join(words) + "\n"

    async def _whoami(self, _: list[str]) -> Answer:
        return 0, "root\n"

    async def _shutdown(self, _: list[str]) -> Answer:
        self._halt()
        return 0, ""

    async def _true(self, _: list[str]) -> Answer:
        return 0, ""

    async def _false(self, _: list[str]) -> Answer:
        return 1, ""


class _Door(asyncssh.SSHServer):
    """One connection: lets in the keys that are on the disk."""

    def __init__(self, service: "SshService") -> None:
        self._service = service
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._service.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._service.connections.discard(self._connection)

    async def begin_auth(self, username: str) -> bool:
        keys = await self._service.system.disk.read(KEYS)
        if keys and self._connection is not None:
            with suppress(ValueError):  # a file without a key: nobody gets in
                self._connection.set_authorized_keys(
                    asyncssh.import_authorized_keys(keys.decode(errors="replace"))
                )
        return True

    def public_key_auth_supported(self) -> bool:
        return True


class SshService:
    """The ssh server of one machine while it runs from its disk."""

    def __init__(self, system: System, host_key: asyncssh.SSHKey) -> None:
        self.system = system
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._host_key = host_key
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def open(self, address: str, port: int) -> None:
        """Listen; raises OSError."""
        self._acceptor = await asyncssh.listen(
            address,
            port,
            server_factory=lambda: _Door(self),
            server_host_keys=[self._host_key],
            process_factory=self._serve,
            config=None,
            login_timeout=20,
        )

    def abort(self) -> None:
        """Stop at once: no listener, no connection."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self.connections):
            connection.abort()

    async def _serve(self, process: "asyncssh.SSHServerProcess[str]") -> None:
        status, output = await self.system.run(process.command)
        stream = process.stdout if status == 0 else process.stderr
        with suppress(asyncssh.Error, OSError):  # the client is gone: nobody to tell
            stream.write(output)
            process.exit(status)
