"""A small BitTorrent tracker over HTTP, for one torrent, which it also hands out.

It answers `GET /announce` as BEP 3 and BEP 23 (compact lists of peers) have it, and
`GET /image.torrent`. A peer's address is where its question comes from. Anybody may ask, so what
is kept, and how many may be asking at once, is bounded.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from rhubarbe.errors import GatewayError
from rhubarbe.gateway.engines.peers import PEER_ID, TorrentPeers
from rhubarbe.gateway.engines.torrent import Torrent, bencode

TORRENT_PATH = "/image.torrent"
ANNOUNCE_PATH = "/announce"
# Seconds between two questions of a peer.
INTERVAL_S = 30
# Who asks needs one connection, for a moment.
MOST_CONNECTIONS, MOST_OF_AN_ADDRESS = 256, 4
LONGEST_REQUEST = 8192
LIMIT_S = 5.0
HIGHEST_PORT = 65535
_PORT = re.compile(rb"[0-9]{1,5}")
# A connection that is cut or silent (TimeoutError is an OSError), or what is said is not HTTP.
NO_QUESTION = (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@dataclass(frozen=True, slots=True)
class TrackerAnswer:
    """What is answered: an HTTP status with its reason, and a body."""

    status: str
    body: bytes = b""


class Tracker:
    """Knows who has the torrent, or parts of it; `seeded` is set once our own seeder has said so.

    That one is at our address `home`.
    """

    def __init__(self, home: str) -> None:
        self.torrent: Torrent | None = None
        self.seeded = asyncio.Event()
        self._peers = TorrentPeers(home)
        self._asking: Counter[str] = Counter()

    def answer(self, target: str, ip: str) -> TrackerAnswer:
        """Answer a question for a path with its query, from an address."""
        path, _, query = target.partition("?")
        if self.torrent is None or path not in (TORRENT_PATH, ANNOUNCE_PATH):
            return TrackerAnswer("404 Not Found")
        if path == TORRENT_PATH:
            return TrackerAnswer("200 OK", self.torrent.content)
        return self._announce(_parameters(query), ip, self.torrent.info_hash)

    def _announce(self, given: Mapping[str, bytes], ip: str, info_hash: bytes) -> TrackerAnswer:
        peer, port = given.get("peer_id", b""), given.get("port", b"")
        if given.get("info_hash") != info_hash or len(peer) != PEER_ID:
            return TrackerAnswer("200 OK", bencode({b"failure reason": b"no such torrent here"}))
        if not _PORT.fullmatch(port) or not 0 < int(port) <= HIGHEST_PORT:
            return TrackerAnswer("200 OK", bencode({b"failure reason": b"no port"}))
        key = (ip, peer)
        if given.get("event") == b"stopped":
            self._peers.forget(key)
        else:
            where = socket.inet_aton(ip) + struct.pack(">H", int(port))
            if self._peers.note(key, where, has_all=given.get("left") == b"0"):
                self.seeded.set()
        told = self._peers.told(key)
        return TrackerAnswer("200 OK", bencode({b"interval": INTERVAL_S, b"peers": told}))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, for one question; one too many is closed at once."""
        ip = writer.get_extra_info("peername")[0]
        self._asking[ip] += 1
        try:
            if self._asking[ip] <= MOST_OF_AN_ADDRESS and self._asking.total() <= MOST_CONNECTIONS:
                await self._serve(reader, writer, ip)
        finally:
            self._asking[ip] -= 1
            self._asking += Counter()  # which drops counts of zero
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ip: str
    ) -> None:
        with contextlib.suppress(*NO_QUESTION):
            async with asyncio.timeout(LIMIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.decode("latin-1").split(" ", 2)
                answer = self.answer(target, ip) if method == "GET" else TrackerAnswer("400 Bad")
                writer.write(_response(answer))
                await writer.drain()


def _parameters(query: str) -> dict[str, bytes]:
    pairs = (part.partition("=") for part in query.split("&"))
    return {name: unquote_to_bytes(value) for name, _, value in pairs}


def _response(answer: TrackerAnswer) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status}\r\nContent-Type: application/x-bittorrent\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + answer.body


@contextlib.asynccontextmanager
async def track(address: str) -> AsyncIterator[tuple[Tracker, int]]:
    """Listen at our `address` for the length of the context; yield the port, too.

    Raises GatewayError.
    """
    tracker = Tracker(address)
    try:
        server = await asyncio.start_server(tracker.serve, address, 0, limit=LONGEST_REQUEST)
    except OSError as error:
        raise GatewayError(f"no tracker can listen on {address}: {error.strerror}") from error
    async with server:
        yield tracker, server.sockets[0].getsockname()[1]
