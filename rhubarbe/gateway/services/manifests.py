"""Serves a manifest to the nodes of one load: by TCP, bare bytes, whatever they say.

It need not be a secret, and its digest proves it, so who is not of the load is turned away only to
be no burden. Nobody who reads slowly, or not at all, holds up another.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from rhubarbe.errors import GatewayError, why

PIECE = 1 << 16
# As long as our clients wait for all of it.
LIMIT_S = 30.0
# Of more connections of one node, the oldest is cut: it may be left from before its reset.
MOST_AT_ONCE = 4
BACKLOG = 1024


class _Service:
    """One manifest, and the connections on which it is sent."""

    def __init__(self, content: bytes, readers: Collection[str]) -> None:
        self._content = content
        self._readers = frozenset(readers)
        self._open: dict[str, list[asyncio.StreamWriter]] = {}

    async def accept(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send all of it, to whom it is for."""
        peer = writer.get_extra_info("peername")
        most = self._most(peer[0], writer.get_extra_info("sockname")[0]) if peer else 0
        if not most:
            writer.transport.abort()
            return
        mine = self._open.setdefault(peer[0], [])
        mine.append(writer)
        if len(mine) > most:
            mine[0].transport.abort()
        try:
            with contextlib.suppress(OSError):  # TimeoutError is one
                await self._send(writer)
        finally:
            mine.remove(writer)
            writer.transport.abort()

    def _most(self, ip: str, ours: str) -> int:
        """How many connections an address may have; nodes may be emulated on this machine."""
        if ip in self._readers:
            return MOST_AT_ONCE
        is_here = ip == ours or ip.startswith("127.")
        return MOST_AT_ONCE * len(self._readers) if is_here else 0

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=PIECE)
        content = memoryview(self._content)
        async with asyncio.timeout(LIMIT_S):
            for start in range(0, len(content), PIECE):
                writer.write(content[start : start + PIECE])
                await writer.drain()
            writer.close()
            await writer.wait_closed()

    def abort(self) -> None:
        """Cut all connections."""
        for writers in self._open.values():
            for writer in writers:
                writer.transport.abort()


@contextlib.asynccontextmanager
async def offered(content: bytes, address: str, readers: Collection[str]) -> AsyncIterator[str]:
    """Offer a manifest at our `address` for the length of the context; yield `HOST:PORT`.

    `readers` are the addresses that are served, besides this machine. Raises GatewayError.
    """
    service = _Service(content, readers)
    try:
        server = await asyncio.start_server(service.accept, address, 0, backlog=BACKLOG)
    except OSError as error:
        raise GatewayError(f"{address}: no manifest can be offered there: {why(error)}") from error
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"{host}:{port}"
    finally:
        server.close()
        service.abort()
