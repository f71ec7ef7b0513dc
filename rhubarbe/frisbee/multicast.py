"""UDP sockets of one session: groups, interfaces, and trains of datagrams.

A train is sent by one system call (UDP_SEGMENT) and received by one (UDP_GRO). Where the kernel or
the interface refuses, datagrams go one by one, and ``remarks`` says so.
"""

import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Self

from rhubarbe.frisbee import filters
from rhubarbe.frisbee.errors import FrisbeeError, PortInUse
from rhubarbe.frisbee.packets import BLOCK_BYTES

TTL = 5
RECEIVE_BUFFER = 16 << 20
MOST_KIB = ((1 << 31) - 1) >> 10  # of a buffer, which the kernel counts in an int
KEEP_ALIVE_S = 3
"""After so many seconds in which nothing comes, switches are reminded of the group.

One that snoops IGMP where nobody queries forgets its members after some minutes, and then passes
nothing on to them."""
LONGEST_TRAIN = 62  # blocks: 62 * 1048 bytes fit into one datagram's 65,507
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_UDP_SEGMENT, _UDP_GRO = 103, 104
_TRAIN_BUFFER = 1 << 16
_CONTROL_SPACE = socket.CMSG_SPACE(4)
_RETRY_LATER = (errno.EAGAIN, errno.ENOBUFS)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENODEV)
ICMP_ERRORS = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
_NO_TRAINS = (errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT, errno.EMSGSIZE)


class Receipt(NamedTuple):
    """What one system call received: ``length`` bytes, in datagrams of ``segment`` each."""

    length: int
    segment: int
    address: str
    port: int


class Arrival(NamedTuple):
    """Datagrams of ``segment`` bytes each (the last may be shorter), one after the other."""

    data: memoryview
    segment: int
    address: str
    port: int

    @property
    def packets(self) -> int:
        """How many datagrams; an empty one is one, too."""
        return max(1, -(-len(self.data) // self.segment))


class SessionAddress(NamedTuple):
    """Where a session takes place: ``group`` may also be the other end's own address."""

    group: str
    port: int
    interface: str
    broadcast: bool = False

    @property
    def is_multicast(self) -> bool:
        """Whether ``group`` is one."""
        return ipaddress.IPv4Address(self.group).is_multicast


def _starts(run: bytes | memoryview) -> range:
    return range(0, len(run), BLOCK_BYTES)


def own_address(group: str) -> str:
    """Return the address of this host that packets to ``group`` come from by default."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((group, 9))
        except OSError as error:
            message = f"No route to {group} ({error.strerror}); name the interface with -i"
            raise FrisbeeError(message) from error
        return str(probe.getsockname()[0])


class Channel:
    """The sockets of a session: one that hears the group, one that sends from the own address.

    A sending socket of a server is exclusive: that is how a port in use is noticed, for clients on
    the same host share group and port. ``deaf_to_blocks`` keeps a server's own blocks out.
    """

    def __init__(
        self, session: SessionAddress, *, exclusive: bool, buffer_bytes: int = RECEIVE_BUFFER
    ) -> None:
        self.session = session
        self.source = socket.inet_aton(session.interface)
        self.remarks: list[str] = []
        self.overruns = 0
        self.cut_at: float | None = None
        self._is_used = False
        self._sockets: list[socket.socket] = []
        self._trains = True
        self._is_server = False
        if session.group == session.interface:  # each end would only hear itself
            raise FrisbeeError(
                f"{session.group} is both -m and our own address: without a group, -m is the"
                " address of the other end; on one machine, give each end its own with -i"
            )
        try:
            self._sender = self._bind(session.interface, exclusive=exclusive)
            if session.is_multicast:
                self._listen_to_group()
            elif session.broadcast:
                self._bind("", exclusive=False)
                self._sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._grow(buffer_bytes)
        except BaseException:
            self.close()
            raise
        self._buffer = memoryview(bytearray(_TRAIN_BUFFER))

    def __enter__(self) -> Self:
        """Enter: the sockets close on the way out."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the sockets."""
        self.close()

    def close(self) -> None:
        """Close the sockets, which leaves the group."""
        for each in self._sockets:
            each.close()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """Those to wait on for something to ``receive``."""
        return self._sockets

    @property
    def port(self) -> int:
        """The session's port, also when it was chosen by the kernel."""
        return self.session.port

    def _bind(self, address: str, *, exclusive: bool) -> socket.socket:
        new = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(new)
        new.settimeout(0)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not exclusive)
        try:
            new.bind((address, self.session.port))
        except OSError as error:
            where = f"{address or '0.0.0.0'}:{self.session.port}"  # noqa: S104 - all addresses
            message = f"Bind to {where} failed: {error.strerror}"
            raise (PortInUse if error.errno == errno.EADDRINUSE else FrisbeeError)(
                message
            ) from error
        self.session = self.session._replace(port=new.getsockname()[1])
        if exclusive:  # others may share from now on, but no second server can pass the bind above
            new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            new.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        return new

    def _listen_to_group(self) -> None:
        listener = self._bind(self.session.group, exclusive=False)
        try:
            self._member(listener, socket.IP_ADD_MEMBERSHIP)
            self._send_by_interface()
        except OSError as error:
            where = f"{self.session.group} on {self.session.interface}"
            raise FrisbeeError(f"Cannot join {where}: {error.strerror}") from error
        self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)

    def _send_by_interface(self) -> None:
        """Have packets to the group leave by our interface, which the kernel knows by a number."""
        interface = socket.inet_aton(self.session.interface)
        self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)

    def _member(self, listener: socket.socket, option: int) -> None:
        group, interface = self.session.group, self.session.interface
        membership = socket.inet_aton(group) + socket.inet_aton(interface)
        listener.setsockopt(socket.IPPROTO_IP, option, membership)

    def keep_alive(self) -> None:
        """Remind switches of our membership: an IGMP report if permitted, else leave and join."""
        if not self.session.is_multicast:
            return
        listener = self._sockets[1]
        with suppress(OSError):  # we are a member, unless the interface has lost its address
            self._member(listener, socket.IP_ADD_MEMBERSHIP)
        try:
            self._report_membership()
        except OSError:
            for option in (socket.IP_DROP_MEMBERSHIP, socket.IP_ADD_MEMBERSHIP):
                with suppress(OSError):  # the interface is away: the next time, then
                    self._member(listener, option)

    def _report_membership(self) -> None:
        """Send an IGMPv2 report (RFC 2236) with the router-alert option (RFC 2113)."""
        group = socket.inet_aton(self.session.group)
        total = 0x1600 + sum(struct.unpack("!HH", group))
        checksum = ~(total + (total >> 16)) & 0xFFFF
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP) as raw:
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes((0x94, 4, 0, 0)))
            raw.bind((self.session.interface, 0))
            raw.sendto(struct.pack("!BBH", 0x16, 0, checksum) + group, (self.session.group, 0))

    def _grow(self, wanted: int) -> None:
        """Ask for large buffers: by privilege, else as large as the kernel allows."""
        for each in self._sockets:
            for forced, plain in (
                (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
                (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
            ):
                try:
                    each.setsockopt(socket.SOL_SOCKET, forced, wanted)
                except OSError:
                    each.setsockopt(socket.SOL_SOCKET, plain, wanted)
        actual = self._sockets[-1].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        self.buffer_bytes = actual

    def deaf_to_blocks(self) -> None:
        """Drop BLOCK packets and replies in the kernel: a server hears its own on loopback."""
        self._is_server = True
        self.deaf_to(())

    def deaf_to(self, addresses: Collection[str]) -> None:
        """Drop in the kernel what comes from these addresses, and from them only."""
        for each in self._sockets:
            filters.attach(each, blocks=self._is_server, addresses=addresses)

    # -- receiving -------------------------------------------------------------------------------

    def receive(self, ready: socket.socket, limit: int) -> Iterator[Arrival]:
        """Yield up to ``limit`` arrivals; each one's data is overwritten by the next."""
        for _ in range(limit):
            receipt = self.receive_into(ready, [self._buffer])
            if receipt is None:
                return
            yield Arrival(self._buffer[: receipt.length], *receipt[1:])

    def receive_into(
        self, ready: socket.socket, buffers: Sequence[bytearray | memoryview]
    ) -> Receipt | None:
        """Receive a train into ``buffers``, one filled after the other; None when there is none."""
        while True:
            try:
                length, control, _flags, (address, port) = ready.recvmsg_into(
                    buffers, _CONTROL_SPACE
                )
            except BlockingIOError:
                return None
            except OSError as error:  # an ICMP error of an earlier datagram, in unicast
                if error.errno not in ICMP_ERRORS:
                    raise
                continue
            segment = length or 1  # an empty datagram is one, too
            for level, kind, value in control:
                if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
                    segment = int.from_bytes(value[:4], "little")
            return Receipt(length, segment, address, port)

    def without_trains(self) -> None:
        """Have the kernel hand over each datagram by itself, not as part of a train."""
        for each in self._sockets:
            with suppress(OSError):
                each.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 0)

    # -- sending ---------------------------------------------------------------------------------

    def send(self, datagram: bytes) -> bool:
        """Send one datagram to the group; false when the kernel has no room for it now, or no way.

        An interface may go down for some seconds, and its routes with it: where the first datagram
        has found its way, the others may again. ``cut_at`` tells since when they do not.
        """
        try:
            return self._send([datagram], ())
        except OSError as error:
            to = f"{self.session.group}:{self.session.port}"
            raise FrisbeeError(f"Cannot send to {to}: {error.strerror}") from error

    def send_train(self, runs: Sequence[bytes | memoryview], sent: int = 0) -> int:
        """Send BLOCK packets, end to end in each of ``runs``, from datagram ``sent`` on.

        Return how many datagrams of the train have left; call again with it later for the rest.
        """
        total = sum(map(len, runs)) // BLOCK_BYTES
        if self._trains and not sent and total > 1:
            control = ((socket.IPPROTO_UDP, _UDP_SEGMENT, BLOCK_BYTES.to_bytes(2, "little")),)
            try:
                return total if self._send(runs, control) else 0
            except OSError as error:
                if error.errno not in _NO_TRAINS:
                    raise
                self._trains = False
                why = error.strerror
                self.remarks.append(f"No trains of datagrams here ({why}); sending one by one")
        packets = [run[at : at + BLOCK_BYTES] for run in runs for at in _starts(run)]
        return self.send_each(packets, sent)

    def send_each(self, datagrams: Sequence[bytes | memoryview], sent: int = 0) -> int:
        """Send datagrams of any lengths, as `send_train` does."""
        while sent < len(datagrams) and self._send(datagrams[sent : sent + 1], ()):
            sent += 1
        return sent

    def _send(
        self, pieces: Sequence[bytes | memoryview], control: Sequence[tuple[int, int, bytes]]
    ) -> bool:
        to = (self.session.group, self.session.port)
        try:
            self._sender.sendmsg(pieces, control, 0, to)
        except OSError as error:
            if error.errno in _RETRY_LATER:
                self.overruns += 1
                return False
            if error.errno in _NO_WAY and self._is_used:
                self._note_cut(str(error.strerror))
                with suppress(OSError):  # it may have been made anew, and have another number
                    self._send_by_interface()
                return False
            if error.errno in (errno.ECONNREFUSED, errno.EPERM):
                return True  # lost: an ICMP error of an earlier datagram, or a filter on this host
            raise
        if self.cut_at is not None:
            self.cut_at = None
            self.remarks.append(f"Packets to {to[0]} leave again")
            self.keep_alive()
        self._is_used = True
        return True

    def _note_cut(self, why: str) -> None:
        if self.cut_at is None:
            self.cut_at = time.monotonic()
            self.remarks.append(f"No packet to {self.session.group} leaves now ({why})")
