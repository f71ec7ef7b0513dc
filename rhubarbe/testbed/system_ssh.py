"""The ssh service of an emulated machine booted from its disk."""

import asyncio
from contextlib import suppress

import asyncssh

from rhubarbe.testbed.door import Door
from rhubarbe.testbed.system import KEYS, EmulatedSystem


class _Door(Door):
    """Lets in the keys that are on the disk."""

    def __init__(
        self, system: EmulatedSystem, connections: "set[asyncssh.SSHServerConnection]"
    ) -> None:
        super().__init__(connections)
        self._system = system

    async def begin_auth(self, username: str) -> bool:
        keys = await self._system.disk.read(KEYS)
        if keys and self.connection is not None:
            with suppress(ValueError):  # a file without a key: nobody gets in
                self.connection.set_authorized_keys(
                    asyncssh.import_authorized_keys(keys.decode(errors="replace"))
                )
        return True

    def public_key_auth_supported(self) -> bool:
        return True


class SystemSsh:
    """The ssh server of one machine while it runs from its disk."""

    def __init__(
        self, place: tuple[str, int], system: EmulatedSystem, host_key: asyncssh.SSHKey
    ) -> None:
        self._system = system
        self._place = place
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._host_key = host_key
        self._commands: set[asyncio.Task[None]] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def open(self) -> None:
        """Listen; raises OSError."""
        address, port = self._place
        self._acceptor = await asyncssh.listen(
            address,
            port,
            server_factory=lambda: _Door(self._system, self._connections),
            server_host_keys=[self._host_key],
            process_factory=self._serve,
            config=None,
            login_timeout=20,
        )

    def abort(self) -> None:
        """Stop at once: no listener, no connection, no command."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self._connections):
            connection.abort()
        for command in self._commands:
            command.cancel()

    async def _serve(self, process: "asyncssh.SSHServerProcess[str]") -> None:
        if (command := asyncio.current_task()) is not None:
            self._commands.add(command)  # or nobody holds it once its connection is gone
            command.add_done_callback(self._commands.discard)
        status, output = await self._system.run(process.command)
        stream = process.stdout if status == 0 else process.stderr
        with suppress(asyncssh.Error, OSError):  # the client is gone: nobody to tell
            stream.write(output)
            process.exit(status)
