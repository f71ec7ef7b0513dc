"""From datagrams to chunks: what the server sends is kept, what others send in its name counted."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

from rhubarbe.frisbee.chunks import ChunkBuffers, LandingStrip, store_parity, store_row, store_train
from rhubarbe.frisbee.errors import MalformedPacket
from rhubarbe.frisbee.floods import Floods
from rhubarbe.frisbee.multicast import Arrival, Channel
from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    LONGEST_PARITY_BYTES,
    Block,
    Join,
    Join2,
    Joined,
    Joined2,
    Parity,
    decode,
)
from rhubarbe.frisbee.peers import Peers
from rhubarbe.frisbee.receiving import Receiver
from rhubarbe.frisbee.trains import Row

_ARRIVALS_PER_TURN = 64
_SPLIT = 48  # blocks in a row that came each by itself: fewer are what is left of trains
_PACKETS_OF_OTHERS = 4000, 8000  # a second, in one burst: more than another client sends

_ReceiveSingles = Callable[[socket.socket, str, float], Iterator[Row | Arrival]]


class Intake:
    """Takes what arrives; calls ``on_full`` for each chunk that it completes."""

    def __init__(
        self,
        channel: Channel,
        receiver: Receiver,
        buffers: ChunkBuffers,
        peers: Peers,
        on_full: Callable[[int], None],
        debug: Callable[[str], None],
    ) -> None:
        self.heard_at = 0.0
        self._channel = channel
        self._receiver = receiver
        self._buffers = buffers
        self._peers = peers
        self._on_full = on_full
        self._debug = debug
        self._floods = Floods(*_PACKETS_OF_OTHERS, channel.deaf_to)
        self._strip = LandingStrip(receiver, buffers)
        self._singles: _ReceiveSingles | None = None
        self._alone = 0

    def receive(self, ready: "socket.socket", now: float) -> None:
        """Take what a socket has, but only so much that other work is not held up."""
        if self._singles:
            self._receive_singles(self._singles, ready, now)
            return
        for _ in range(_ARRIVALS_PER_TURN):
            receipt = self._channel.receive_into(ready, self._strip.room())
            if receipt is None:
                return
            length, segment, address, port = receipt
            if self._are_split(length):
                self._expect_singles()
            if segment == BLOCK_BYTES and port == self._channel.port and self._is_server(address):
                completed = self._strip.landed(length, self._peers.source, now)
                if completed is not None:
                    self.heard_at = now
                    self._submit(completed)
                    continue
            self.take(Arrival(self._strip.gather(length), segment, address, port), now)

    def _are_split(self, length: int) -> bool:
        """Whether trains are split on the way to us, by all that came last."""
        self._alone = self._alone + 1 if length == BLOCK_BYTES else 0
        return self._alone == _SPLIT

    def _expect_singles(self) -> None:
        with suppress(ImportError, AttributeError, OSError):  # else one by one
            from rhubarbe.frisbee.singles import Singles  # ctypes, which not every Python has

            self._singles = Singles(self._channel).receive
            self._channel.without_trains()

    def _receive_singles(self, receive: _ReceiveSingles, ready: socket.socket, now: float) -> None:
        server = self._peers.server if self._receiver.joined else ""
        for each in receive(ready, server, now):
            if isinstance(each, Row):
                self.heard_at = now
                self._submit(store_row(each, self._receiver, self._buffers, now))
            else:
                self.take(each, now)

    def take(self, arrival: Arrival, now: float) -> None:
        """Take an arrival that was not received right where it belongs."""
        data, segment, address, _ = arrival
        if self._is_flood(arrival, now):
            return
        if address == self._peers.server:
            self.heard_at = now
        if fault := self._fault(arrival):
            self._debug(fault)
            self._peers.ignore(address, "others")
            return
        whole = len(data) - len(data) % segment
        if segment == BLOCK_BYTES and self._is_server(address):
            completed = store_train(
                data[:whole], self._peers.source, self._receiver, self._buffers, now
            )
            if completed is not None:
                self._strip.expect_after(data[whole - BLOCK_BYTES : whole])
                self._submit(completed)
                data = data[whole:]
        elif segment == BLOCK_BYTES and address != self._channel.session.group:
            self._ignore_blocks(address, whole // BLOCK_BYTES)
            data = data[whole:]
        for start in range(0, len(data), segment):
            self._take_packet(data[start : start + segment], address, now)

    def _fault(self, arrival: Arrival) -> str:
        """Say why no packet can be in there."""
        if not arrival.data:
            return f"Empty message from {arrival.address}"
        if arrival.segment > len(arrival.data):
            return f"Message from {arrival.address} is longer than any"
        if arrival.port != self._channel.port:
            return f"Bad message port ({arrival.port} != {self._channel.port})"
        return ""

    def _is_flood(self, arrival: Arrival, now: float) -> bool:
        """Whether others than the server send so much that the server's would be lost.

        Before a reply has told who the server is, blocks and combined ones (both of which are known
        by their length) may be its: a session that is joined late is full of them, and to be deaf
        to who sends them is to be deaf to the reply.
        """
        self._floods.poll(now)
        address, packets = arrival.address, arrival.packets
        if address in {self._peers.server, self._channel.session.interface}:
            return False
        if not self._receiver.joined and BLOCK_BYTES <= arrival.segment <= LONGEST_PARITY_BYTES:
            self._receiver.misses()
            return False
        if self._floods.admits(address, packets, now):
            return False
        self._peers.ignore(address, "others", packets)
        return True

    def _is_server(self, address: str) -> bool:
        return self._receiver.joined and address == self._peers.server

    def _ignore_blocks(self, address: str, count: int) -> None:
        if self._peers.server:
            self._debug(f"received BLOCK from non-server {address}")
            if address != self._peers.server:
                self._peers.ignore(address, "blocks", count)

    def _take_packet(self, datagram: memoryview, address: str, now: float) -> None:
        try:
            packet, source = decode(datagram)
        except MalformedPacket as problem:
            self._debug(f"{problem}: received bad packet from {address}, ignored")
            self._peers.ignore(address, "others")
            return
        claimed = ".".join(map(str, source))
        if address not in (claimed, self._channel.session.group):
            self._debug(f"Bad message source ({claimed} != {address})")
            self._peers.ignore(address, "others")
        elif isinstance(packet, Block | Parity):
            if not self._is_server(claimed):
                self._ignore_blocks(claimed, 1)
            elif isinstance(packet, Parity):
                self._submit(store_parity(packet, self._receiver, self._buffers, now))
            else:
                self._take_block(datagram, source, now)
        elif isinstance(packet, Joined | Joined2):
            self._take_reply(packet, claimed, now)
        elif not isinstance(packet, Join | Join2):
            self._receiver.receive(packet, now, claimed)

    def _take_block(self, datagram: memoryview, source: bytes, now: float) -> None:
        train = datagram[:BLOCK_BYTES]
        self._submit(store_train(train, source, self._receiver, self._buffers, now) or [])

    def _take_reply(self, packet: Joined | Joined2, address: str, now: float) -> None:
        peers = self._peers
        if peers.server not in ("", address):
            peers.ignore(address, "replies")
            if not self._receiver.refuses(packet):
                peers.offer(address)
        elif self._receiver.refuses(packet):
            peers.ignore(address, "replies")
        elif not self._receiver.joined:
            self._join(packet, address, now)
        else:
            self._receiver.receive(packet, now)

    def _join(self, packet: Joined | Joined2, address: str, now: float) -> None:
        self._receiver.receive(packet, now)
        if self._receiver.joined:
            self._peers.choose(address)

    def _submit(self, completed: list[int]) -> None:
        for chunk in completed:
            self._on_full(chunk)
