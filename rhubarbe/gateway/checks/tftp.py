"""What a TFTP server has under a name, asked as a node's firmware asks: RFC 1350, RFC 2348.

A small file is read to its end; of another, the first block proves that it is served.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

from rhubarbe.errors import RhubarbeError, why
from rhubarbe.text import sanitise

PORT = 69
BLOCK = 512
ASK_AGAIN_S = 0.7
READ, DATA, ACK, ERROR = 1, 3, 4, 5
NOT_FOUND = 1
ENOUGH = 0
NO_ANSWER = -1
"""The code of no packet: the server does not answer at all."""
# IP_RECVERR: an ICMP error is heard by a socket that talks to several ports, too.
_TELL_ERRORS = 11
LONGEST_COMPLAINT = 200


class TftpError(RhubarbeError):
    """A server did not give a file; `code` is its own, or NO_ANSWER."""

    def __init__(self, message: str, code: int = NO_ANSWER) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Server:
    """A TFTP server, which may take so many seconds for an answer."""

    address: str
    port: int
    within_s: float

    async def read(self, name: str, most: int) -> bytes:
        """Return a file, or what it begins with: `most` bytes at least; raises TftpError."""
        async with self._asked(name) as transfer:
            content = b""
            number = 1
            while True:
                piece = await transfer.block(number)
                content += piece
                if len(piece) < BLOCK:
                    transfer.send(struct.pack("!HH", ACK, number & 0xFFFF))
                    return content
                if len(content) >= most:
                    transfer.send(struct.pack("!HH", ERROR, ENOUGH) + b"enough\0")
                    return content
                number += 1

    @contextlib.asynccontextmanager
    async def _asked(self, name: str) -> AsyncIterator["_Transfer"]:
        loop = asyncio.get_running_loop()
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            probe.setsockopt(socket.IPPROTO_IP, _TELL_ERRORS, 1)
            probe.bind(("", 0))
            transport, transfer = await loop.create_datagram_endpoint(
                lambda: _Transfer(self, name), sock=probe
            )
        except BaseException:  # interrupted too: no transport has it yet
            probe.close()
            raise
        try:
            async with asyncio.timeout(self.within_s):
                yield transfer
        except TimeoutError:
            raise TftpError(f"no answer in {self.within_s:g} s") from None
        except OSError as error:
            raise TftpError(f"cannot be asked: {why(error)}") from error
        finally:
            transport.close()


class _Transfer(asyncio.DatagramProtocol):
    """One file on its way; the server's answers come from a port of their own."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._request = struct.pack("!H", READ) + name.encode() + b"\0octet\0"
        self._peer = (server.address, server.port)
        self._last = b""
        self._transport: asyncio.DatagramTransport | None = None
        self._heard: asyncio.Queue[bytes | OSError] = asyncio.Queue(64)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        self.send(self._request)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        is_first = self._peer[1] == self._server.port
        if addr[0] == self._peer[0] and (is_first or addr == self._peer):
            self._peer = addr[:2]
            self._put(data)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self._put(exc)

    def _put(self, heard: bytes | OSError) -> None:
        if not self._heard.full():  # what floods us is not a file
            self._heard.put_nowait(heard)

    def send(self, packet: bytes) -> None:
        """Send a packet to where the server answers from, and again while it does not."""
        self._last = packet
        if self._transport is not None:
            self._transport.sendto(packet, self._peer)

    async def block(self, number: int) -> bytes:
        """Return the next block, having taken the one before; raises TftpError, OSError."""
        if number > 1:
            self.send(struct.pack("!HH", ACK, number - 1 & 0xFFFF))
        while True:
            try:
                async with asyncio.timeout(ASK_AGAIN_S):
                    heard = await self._heard.get()
            except TimeoutError:
                self.send(self._last)
                continue
            if isinstance(heard, OSError):
                raise heard
            if (content := _content(heard, number)) is not None:
                return content


def _content(packet: bytes, number: int) -> bytes | None:
    """Return what is in a block of this number; None for another packet; raises TftpError."""
    if len(packet) < struct.calcsize("!HH"):
        return None
    kind, rank = struct.unpack_from("!HH", packet)
    if kind == ERROR:
        words = packet[4:].split(b"\0")[0].decode("utf-8", "replace")
        raise TftpError(sanitise(words, LONGEST_COMPLAINT) or f"error {rank}", rank)
    return packet[4:] if (kind, rank) == (DATA, number & 0xFFFF) else None
