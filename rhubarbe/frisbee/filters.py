"""What the kernel drops for us before it wakes us: classic BPF on a UDP socket."""

import socket
import struct
from array import array
from collections.abc import Collection

_SO_ATTACH_FILTER = 26
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # load 32 bits (big-endian), jump if equal, return
_TYPE, _SUBTYPE = 8, 12  # offsets of the fields: a filter counts from the UDP header's start
_SOURCE = 0x100000000 - 0x100000 + 12  # the source address: SKF_NET_OFF is where IP's header starts
_BLOCK, _REPLY = 0x03000000, 0x02000000  # little-endian values, as a big-endian load sees them
_KEEP = 0xFFFFFFFF

_Line = tuple[int, int, int, int]


def attach(to: socket.socket, *, blocks: bool, addresses: Collection[str]) -> None:
    """Have a socket drop what comes from ``addresses``; with ``blocks``, BLOCKs and replies too."""
    program = b"".join(struct.pack("HBBI", *line) for line in _program(addresses, blocks=blocks))
    code = array("B", program)
    attached = struct.pack("@HP", len(program) // 8, code.buffer_info()[0])
    to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)


def _program(addresses: Collection[str], *, blocks: bool) -> list[_Line]:
    lines: list[_Line] = [(_LOAD, 0, 0, _SOURCE)]
    for address in addresses:
        lines += [
            (_EQUAL, 0, 1, int.from_bytes(socket.inet_aton(address), "big")),
            (_RETURN, 0, 0, 0),
        ]
    if blocks:
        lines += [
            (_LOAD, 0, 0, _TYPE),
            (_EQUAL, 3, 0, _REPLY),
            (_LOAD, 0, 0, _SUBTYPE),
            (_EQUAL, 1, 0, _BLOCK),
        ]
    return [*lines, (_RETURN, 0, 0, _KEEP), (_RETURN, 0, 0, 0)]
