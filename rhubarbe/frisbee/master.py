"""What clients and master servers say to each other, over TCP: which image, and where it is served.

A message is a header, the four bytes `V01` and zero and a type, and a body of a fixed size that the
type tells; integers are in network order, nothing is aligned.
"""

import ipaddress
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Self

from rhubarbe.frisbee.errors import MalformedPacket

PORT = 64494
LONGEST_NAME = 256

_VERSION = b"V01\0"
_HEADER = struct.Struct("!4sI")
_GET = struct.Struct("!4sBBH256s")
_GET_REPLY = struct.Struct("!BBH4s4sHH256sII")
_PUT_BYTES = 279
_PUT_REPLY = struct.Struct("!H281x")
_GET_TYPE, _GET_REPLY_TYPE, _PUT_TYPE, _PUT_REPLY_TYPE = range(1, 5)
HEADER_BYTES = _HEADER.size
REPLY_BYTES = _HEADER.size + _GET_REPLY.size
ITSELF = "0.0.0.0"  # noqa: S104 - stands for who asks


class Method(IntFlag):
    """How blocks get to clients."""

    UNICAST = 1
    MULTICAST = 2
    BROADCAST = 4


class Refusal(IntEnum):
    """Why there is no image, or 0."""

    NONE = 0
    FAILED = 1
    NO_HOST = 2
    NO_IMAGE = 3
    NO_ACCESS = 4
    NO_METHOD = 5
    INVALID = 6
    TRY_AGAIN = 7
    TOO_BIG = 8
    BAD_TIME = 9
    NOT_DONE = 10


WORDS = {
    Refusal.FAILED: "it failed there",
    Refusal.NO_HOST: "this host is not known there",
    Refusal.NO_IMAGE: "there is no such image",
    Refusal.NO_ACCESS: "this host may not have it",
    Refusal.NO_METHOD: "it is not served in this way (-X)",
    Refusal.INVALID: "the question is not understood",
    Refusal.TRY_AGAIN: "it is busy; -B SECONDS asks again",
    Refusal.TOO_BIG: "it is too big",
    Refusal.BAD_TIME: "its time is wrong",
    Refusal.NOT_DONE: "that is not done there",
}


@dataclass(frozen=True, slots=True)
class GetRequest:
    """Asks for an image by its name, for a host, or for who asks; `only_asks`: serve nothing."""

    name: bytes
    methods: Method
    only_asks: bool = False
    host: str = ITSELF

    def encode(self) -> bytes:
        """Return the whole message."""
        body = _GET.pack(
            socket.inet_aton(self.host), self.methods, self.only_asks, len(self.name), self.name
        )
        return _HEADER.pack(_VERSION, _GET_TYPE) + body

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read what follows a header; raise MalformedPacket."""
        host, methods, only_asks, length, name = _GET.unpack(body)
        if length > LONGEST_NAME:
            raise MalformedPacket(f"a name of {length} bytes")
        name = name[:length].split(b"\0")[0]  # some count the zero that ends it
        return cls(name, Method(methods & 7), bool(only_asks), socket.inet_ntoa(host))


@dataclass(frozen=True, slots=True)
class GetReply:
    """Where an image is served, or will be, and its size in bytes; or why not."""

    refusal: int = Refusal.NONE
    method: int = 0
    is_running: bool = False
    server: str = ITSELF
    address: str = ITSELF
    port: int = 0
    size: int = 0

    def encode(self) -> bytes:
        """Return the whole message; it has no signature of the image."""
        body = _GET_REPLY.pack(
            self.method,
            self.is_running,
            self.refusal,
            socket.inet_aton(self.server),
            socket.inet_aton(self.address),
            self.port,
            0,
            b"",
            self.size >> 32,
            self.size & 0xFFFFFFFF,
        )
        return _HEADER.pack(_VERSION, _GET_REPLY_TYPE) + body

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Read a whole message; raise MalformedPacket."""
        if len(message) != REPLY_BYTES:
            raise MalformedPacket(f"a reply of {len(message)} bytes, not {REPLY_BYTES}")
        version, kind = _HEADER.unpack_from(message)
        if (version, kind) != (_VERSION, _GET_REPLY_TYPE):
            raise MalformedPacket(f"a reply of version {version!r} and type {kind}")
        method, runs, refusal, server, address, port, _, _, high, low = _GET_REPLY.unpack_from(
            message, _HEADER.size
        )
        return cls(
            refusal,
            method,
            bool(runs),
            socket.inet_ntoa(server),
            socket.inet_ntoa(address),
            port,
            high << 32 | low,
        )


def body_bytes(header: bytes) -> int:
    """Return how long the body of a question is, by its header; raise MalformedPacket."""
    version, kind = _HEADER.unpack(header)
    sizes = {_GET_TYPE: _GET.size, _PUT_TYPE: _PUT_BYTES}
    if version != _VERSION or kind not in sizes:
        raise MalformedPacket(f"version {version!r}, type {kind}")
    return sizes[kind]


def can_be_host(address: str) -> bool:
    """Whether an address may be one host's: no group, not all of a network, not reserved."""
    found = ipaddress.IPv4Address(address)
    nobody = ipaddress.IPv4Network("0.0.0.0/8")
    return not (found.is_multicast or found.is_reserved or found in nobody)


def is_put(header: bytes) -> bool:
    """Whether a question is for leave to send an image."""
    return bool(_HEADER.unpack(header)[1] == _PUT_TYPE)


def put_refused() -> bytes:
    """Return the answer to whoever would send an image: that is not done."""
    return _HEADER.pack(_VERSION, _PUT_REPLY_TYPE) + _PUT_REPLY.pack(Refusal.NOT_DONE)
