"""Door to a node's TCP ports: who accepts a connection there, and whether it has gone away since.

A node that was reset must be seen to leave: nothing of what answered before accepts a connection.

A look makes no connection: SYN, SYN-ACK, RST, as HAProxy's plain TCP checks do. So the server does
not hear of it, and OpenSSH (9.8 and later) does not count a connection without a login, for which
it would refuse this address for a while. The kernel holds back the last ACK of the handshake, up to
200 ms, where told to spare ACKs; before that, a socket that closes without lingering sends RST.
"""

import asyncio
import socket
import struct
from collections.abc import Iterable

from rhubarbe.errors import require_means

CLOSE_WITH_RESET = struct.pack("ii", 1, 0)


async def accepts(ip: str, port: int, limit_s: float) -> bool:
    """Tell whether a TCP connection could be made within `limit_s` seconds."""
    try:
        with socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_WITH_RESET)
            async with asyncio.timeout(limit_s):
                await asyncio.get_running_loop().sock_connect(probe, (ip, port))
    except OSError as error:  # TimeoutError is one
        require_means(error)  # or we would take a node that was not asked for one that has left
        return False
    return True


class Presence:
    """What a node answered on before it was told to leave; made with `Presence.observe`."""

    def __init__(self, ip: str, ports: Iterable[int], limit_s: float) -> None:
        self._ip = ip
        self._ports = tuple(ports)
        self._limit_s = limit_s

    @classmethod
    async def observe(cls, ip: str, ports: Iterable[int], limit_s: float) -> "Presence":
        """Look which of `ports` accept a connection now, with `limit_s` seconds for each look."""
        candidates = tuple(ports)
        answers = await asyncio.gather(*(accepts(ip, port, limit_s) for port in candidates))
        return cls(
            ip, [port for port, yes in zip(candidates, answers, strict=True) if yes], limit_s
        )

    def __bool__(self) -> bool:
        return bool(self._ports)

    async def has_left(self) -> bool:
        """Tell whether nothing of what answered does so any more."""
        answers = await asyncio.gather(
            *(accepts(self._ip, port, self._limit_s) for port in self._ports)
        )
        return not any(answers)
