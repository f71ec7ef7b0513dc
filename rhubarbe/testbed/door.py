"""The door of a machine's ssh service, which knows its connections, to cut them with the power."""

import asyncssh


class Door(asyncssh.SSHServer):
    """One connection, which is noted among others for as long as it is there."""

    def __init__(self, connections: "set[asyncssh.SSHServerConnection]") -> None:
        self._connections = connections
        self.connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Note it; this and the next method are called by asyncssh."""
        self.connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self.connection is not None:
            self._connections.discard(self.connection)
