"""Names of hosts into addresses, in a thread that nobody waits for.

The C library may look for a name for half a minute. A command must end at its time limit, but the
loop waits for its own threads at its end.
"""

import asyncio
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class PatientResolver(AbstractResolver):
    """A resolver for aiohttp; raises OSError for a name that is not found."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host; may be cancelled at any moment."""
        found: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        arguments = (found, host, port, family)
        threading.Thread(target=_look_up, args=arguments, daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in await found
        ]

    async def close(self) -> None:
        """Nothing is kept open."""


def _look_up(
    found: asyncio.Future[list[Any]], host: str, port: int, family: socket.AddressFamily
) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except OSError as error:
        _tell(found, found.set_exception, error)
    else:
        _tell(found, found.set_result, addresses)


def _tell(found: asyncio.Future[list[Any]], settle: Any, outcome: Any) -> None:
    def settle_if_wanted() -> None:
        if not found.done():
            settle(outcome)

    loop = found.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(settle_if_wanted)
