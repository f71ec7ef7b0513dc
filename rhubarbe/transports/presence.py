"""Door to a node's TCP ports: who accepts a connection there, and whether it has gone away since.

A node that was reset must be seen to leave: nothing of what answered before accepts a connection.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from rhubarbe.errors import require_means


async def accepts(ip: str, port: int, limit: float) -> bool:
    """Tell whether a TCP connection can be made within `limit` seconds."""
    try:
        async with asyncio.timeout(limit), _connection(ip, port):
            return True
    except OSError as error:  # TimeoutError is one
        require_means(error)  # or we would take a node that was not asked for one that has left
        return False


@contextlib.asynccontextmanager
async def _connection(ip: str, port: int) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection(ip, port)
    try:
        yield reader
    finally:
        writer.transport.abort()


class Presence:
    """What a node answered on before it was told to leave; made with `Presence.observe`."""

    def __init__(self, ip: str, ports: Iterable[int], limit: float) -> None:
        self._ip = ip
        self._ports = tuple(ports)
        self._limit = limit

    @classmethod
    async def observe(cls, ip: str, ports: Iterable[int], limit: float) -> "Presence":
        """Look which of `ports` accept a connection now, with `limit` seconds for each look."""
        candidates = tuple(ports)
        answers = await asyncio.gather(*(accepts(ip, port, limit) for port in candidates))
        return cls(ip, [port for port, yes in zip(candidates, answers, strict=True) if yes], limit)

    def __bool__(self) -> bool:
        return bool(self._ports)

    async def departed(self, interval: float) -> None:
        """Return once nothing of what answered does so any more; look every `interval` seconds."""
        while True:
            answers = await asyncio.gather(
                *(accepts(self._ip, port, self._limit) for port in self._ports)
            )
            if not any(answers):
                return
            await asyncio.sleep(interval)
