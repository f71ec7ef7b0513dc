"""Door to a node that runs the ramdisk: a telnet session with a shell, no login asked."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import telnetlib3
from telnetlib3 import TelnetReaderUnicode, TelnetWriterUnicode

from rhubarbe.errors import Unreachable, require_means, why

# What it thinks of a server is for its authors; in the middle of our lines it is noise.
logging.getLogger("telnetlib3").setLevel(logging.CRITICAL)

# Long enough for a server to send its options, short enough not to be noticed.
NEGOTIATION = 0.05
NEGOTIATION_AT_MOST = 0.5
PIECE = 4096


class _Client(telnetlib3.TelnetClient):
    """The library's client, with a way to close its socket at any moment."""

    connected: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connected = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def hang_up(self) -> None:
        if self.connected is not None:
            self.connected.abort()


class Session:
    """An open telnet session: `send` text, read `pieces` of what comes back as it comes."""

    def __init__(self, reader: TelnetReaderUnicode, writer: TelnetWriterUnicode) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, text: str) -> None:
        """Write text as it is; raises Unreachable when the session is gone."""
        try:
            self._writer.write(text)
            await self._writer.drain()
        except OSError as error:
            raise Unreachable(f"the telnet session was cut: {error.strerror or error}") from error

    async def pieces(self) -> AsyncIterator[str]:
        """Yield what the node says, in pieces of any length, until it closes the session."""
        try:
            while piece := await self._reader.read(PIECE):
                yield piece
        except OSError as error:
            raise Unreachable(f"the telnet session was cut: {error.strerror or error}") from error


@contextlib.asynccontextmanager
async def open_session(ip: str, port: int, limit: float) -> AsyncIterator[Session]:
    """Open a session within `limit` seconds; raises Unreachable when nothing answers there.

    The session is closed on every way out, also when cancelled in the middle of the negotiation,
    where the library would leave its socket open.
    """
    clients: list[_Client] = []

    def client(*args: Any, **options: Any) -> _Client:
        clients.append(_Client(*args, **options))
        return clients[-1]

    try:
        try:
            # The library's own connect_timeout may swallow a cancellation (asyncio.wait_for).
            async with asyncio.timeout(limit + NEGOTIATION_AT_MOST):
                reader, writer = await telnetlib3.open_connection(
                    ip,
                    port,
                    client_factory=client,
                    encoding="utf8",
                    encoding_errors="replace",
                    compression=False,
                    connect_minwait=NEGOTIATION,
                    connect_maxwait=NEGOTIATION_AT_MOST,
                )
        except TimeoutError as error:
            raise Unreachable(f"no answer on telnet in {limit:g} s") from error
        except (OSError, asyncio.InvalidStateError) as error:
            if isinstance(error, OSError):
                require_means(error)
            raise Unreachable(f"no answer on telnet: {why(error)}") from error
        yield Session(cast("TelnetReaderUnicode", reader), cast("TelnetWriterUnicode", writer))
    finally:
        for each in clients:
            each.hang_up()
