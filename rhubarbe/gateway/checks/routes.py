"""By which interface this machine sends to an address: what the kernel says to `ip route get`.

The question is RTM_GETROUTE of rtnetlink(7). So rules and tables that /proc/net/route does not show
count, too; nothing is sent to the address.
"""

import errno
import os
import socket
import struct
from dataclasses import dataclass

ROUTES = 0  # NETLINK_ROUTE, the protocol of the socket
GET_ROUTE, ERROR = 26, 2  # RTM_GETROUTE, NLMSG_ERROR
REQUEST = 1  # NLM_F_REQUEST
TO, FROM, BY, ROUTER, PREFERRED = 1, 2, 4, 5, 7  # RTA_DST, _SRC, _OIF, _GATEWAY, _PREFSRC
ALL_BITS = 32
LONGEST = 65536
_HEAD = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ROUTE = struct.Struct("=8BI")  # rtmsg: family, bits of both addresses, five more bytes, flags
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an address: the interface's name, our address on it, and the router, if any."""

    interface: str
    ours: str
    router: str


def route_towards(ip: str, ours: str = "") -> Route:
    """Return the way to an IPv4 address, or to a group, for what is sent from an address of `ours`.

    Raises OSError where there is none.
    """
    asked = _attribute(TO, ip) + (_attribute(FROM, ours) if ours else b"")
    bits = ALL_BITS if ours else 0
    body = _ROUTE.pack(socket.AF_INET, ALL_BITS, bits, 0, 0, 0, 0, 0, 0) + asked
    question = _HEAD.pack(_HEAD.size + len(body), GET_ROUTE, REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, ROUTES) as kernel:
        kernel.send(question)
        answer = kernel.recv(LONGEST)
    _, kind, *_ = _HEAD.unpack_from(answer)
    if kind == ERROR:
        (negative,) = struct.unpack_from("=i", answer, _HEAD.size)
        raise OSError(-negative, os.strerror(-negative))
    found = _attributes(answer[_HEAD.size + _ROUTE.size :])
    if BY not in found:  # what no interface is for: a blackhole, say
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
    return Route(
        socket.if_indextoname(*struct.unpack("=I", found[BY])),
        _text(found.get(PREFERRED)) or ours,
        _text(found.get(ROUTER)),
    )


def _attribute(kind: int, address: str) -> bytes:
    value = socket.inet_aton(address)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _attributes(rest: bytes) -> dict[int, bytes]:
    """Return the attributes by their kind; each is filled up to a multiple of four bytes."""
    found: dict[int, bytes] = {}
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[length + 3 & ~3 :]
    return found


def _text(address: bytes | None) -> str:
    return socket.inet_ntoa(address) if address else ""
