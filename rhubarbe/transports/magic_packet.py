"""Door to a machine that sleeps: the packet that its network interface wakes it by."""

import asyncio
import contextlib
import re
import socket

from rhubarbe.config.section import ValueKind
from rhubarbe.errors import GatewayError

# A packet may be lost, and nobody tells.
PACKETS = 3
SECURE_ON = "a password for Wake-on-LAN: 12 hex digits, or four numbers with dots between them"


def _digits(text: str) -> str:
    digits = re.sub("[:.-]", "", text.lower())
    if not re.fullmatch("[0-9a-f]{12}", digits):
        raise ValueError(text)
    return digits


MAC = ValueKind("a MAC address of 12 hex digits", _digits)


async def wake(mac: str, broadcast: str, port: int, password: str) -> None:
    """Wake the interface of this address; raises OSError, and GatewayError for a bad password."""
    packet = bytes.fromhex("ff" * 6 + _digits(mac) * 16) + _secure_on(password)
    with socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for _ in range(PACKETS):
            await asyncio.get_running_loop().sock_sendto(sender, packet, (broadcast, port))


def _secure_on(text: str) -> bytes:
    """Return the password as bytes: six, written as a MAC address, or four, as an address."""
    with contextlib.suppress(ValueError):
        return bytes.fromhex(_digits(text) if text else "")
    with contextlib.suppress(OSError):
        return socket.inet_pton(socket.AF_INET, text)
    raise GatewayError(f"no secret: expected {SECURE_ON}")
