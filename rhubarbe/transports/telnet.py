"""Door to a node that runs the ramdisk: a telnet session with a shell, no login asked."""

import asyncio
import codecs
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, cast

import telnetlib3
from telnetlib3 import TelnetReader, TelnetReaderUnicode, TelnetWriterUnicode
from telnetlib3.telopt import IAC, MCCP2_COMPRESS, MCCP3_COMPRESS

from rhubarbe.errors import Unreachable, require_means, why

# Its remarks on servers would appear among our own lines, and are of no use to users.
logging.getLogger("telnetlib3").setLevel(logging.CRITICAL)

# Long enough for a server to send its options, short enough not to be noticed.
NEGOTIATION_S = 0.05
NEGOTIATION_AT_MOST_S = 0.5
PIECE = 4096
# A server has some dozens of options to speak of, in a few bytes each. The library looks at each
# byte of them, which a server without end would have it do instead of all the other nodes' work.
MOST_COMMANDS = 1000
LONGEST_OPTION = 65536


class _Writer(TelnetWriterUnicode):
    """The library's: it refuses compression where it is offered, but not where it just begins.

    And until both sides agreed on binary transmission, which busybox's telnetd never does, it would
    write a question mark for each letter that is no ASCII; what is typed here is UTF-8.
    """

    def encode(self, string: str, errors: str | None = None) -> bytes:
        return string.encode(errors="surrogateescape")

    def handle_subnegotiation(self, buf: deque[bytes]) -> None:
        if buf and buf[0] in (MCCP2_COMPRESS, MCCP3_COMPRESS):
            raise ValueError("compression was refused")
        super().handle_subnegotiation(buf)


class _Reader(TelnetReaderUnicode):
    """The library's, which would decode byte by byte, and all that is there for each piece."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._text = codecs.getincrementaldecoder("utf-8")("replace")

    async def read(self, n: int = -1) -> str:  # type: ignore[override] # as there
        """Read a piece of at most `n` bytes; empty at the end."""
        while data := await TelnetReader.read(self, n):
            if text := self._text.decode(data):
                return text
        return self._text.decode(b"", final=True)


class _Client(telnetlib3.TelnetClient):
    """The library's client, with a way to close its socket at any moment, and with bounds."""

    _reader_factory_encoding = _Reader
    _writer_factory_encoding = _Writer
    connected: asyncio.Transport | None = None
    commands = 0
    optional = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connected = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.commands += data.count(IAC)
        if self.writer is not None and self.writer.is_oob:  # in the middle of an option
            self.optional += len(data)
        if self.commands > MOST_COMMANDS or self.optional > LONGEST_OPTION:
            self.hang_up()
        else:
            super().data_received(data)

    def hang_up(self) -> None:
        if self.connected is not None:
            self.connected.abort()


class TelnetSession:
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
async def open_session(ip: str, port: int, limit_s: float) -> AsyncIterator[TelnetSession]:
    """Open a session within `limit_s` seconds; raises Unreachable when nothing answers there.

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
            async with asyncio.timeout(limit_s + NEGOTIATION_AT_MOST_S):
                reader, writer = await telnetlib3.open_connection(
                    ip,
                    port,
                    client_factory=client,
                    encoding="utf8",
                    encoding_errors="replace",
                    compression=False,
                    connect_minwait=NEGOTIATION_S,
                    connect_maxwait=NEGOTIATION_AT_MOST_S,
                )
        except TimeoutError as error:
            raise Unreachable(f"no answer on telnet in {limit_s:g} s") from error
        except (OSError, asyncio.InvalidStateError) as error:
            if isinstance(error, OSError):
                require_means(error)
            raise Unreachable(f"no answer on telnet: {why(error)}") from error
        yield TelnetSession(
            cast("TelnetReaderUnicode", reader), cast("TelnetWriterUnicode", writer)
        )
    finally:
        for each in clients:
            each.hang_up()
