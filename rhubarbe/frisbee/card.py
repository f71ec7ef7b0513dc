"""The network card that a session is heard on: what is too small there, and what repairs it.

The kernel is asked by the ioctls of netdevice(7) and of `linux/ethtool.h`, which ethtool(8) uses.
"""

import fcntl
import socket
import struct
from array import array
from pathlib import Path
from typing import NamedTuple

from rhubarbe.frisbee.multicast import Channel
from rhubarbe.frisbee.packets import BLOCKS_PER_CHUNK

_SIOCGIFCONF, _SIOCETHTOOL = 0x8912, 0x8946
_GET_RING, _GET_GRO = 0x10, 0x2B
_RING = struct.Struct("9I")
_VALUE = struct.Struct("2I")
_REQUEST = struct.Struct("16sP16x")
_ENTRY = struct.calcsize("16sLLHBBB0L")
_NAME, _ADDRESS = 16, slice(20, 24)
_MOST_ADDRESSES = 256

_LEAST_RING = BLOCKS_PER_CHUNK
"""Packets: a chunk is sent in one go, by whoever serves without a limit."""


class Ring(NamedTuple):
    """How many received packets wait in a card for the kernel, and how many can at most."""

    current: int
    most: int


def advice(channel: Channel, wanted: int) -> str:
    """Say in one line what may lose blocks here, and the commands against it; '' if nothing does.

    ``wanted`` is what the receive buffer was to have, in bytes.
    """
    lacks, cures = [], []
    if channel.buffer_bytes < wanted:
        lacks.append(f"the receive buffer has {channel.buffer_bytes} bytes, not {wanted}")
        cures.append(f"sysctl -w net.core.rmem_max={wanted}")
    if is_card(name := name_of(channel.session.interface)):
        ring = ring_of(name)
        if ring and ring.current < min(ring.most, _LEAST_RING):
            lacks.append(f"{name} holds {ring.current} packets, and could {ring.most}")
            cures.append(f"ethtool -G {name} rx {ring.most}")
        if joins_packets(name) is False:
            lacks.append(f"{name} hands over each packet by itself")
            cures.append(f"ethtool -K {name} gro on")
    if not lacks:
        return ""
    return f"Blocks may get lost here: {', '.join(lacks)}; as root: {' && '.join(cures)}"


def name_of(address: str) -> str:
    """Return the name of the interface that has an address, '' where that is not known."""
    entries = array("B", bytes(_MOST_ADDRESSES * _ENTRY))
    place, length = entries.buffer_info()
    reply = _ioctl(_SIOCGIFCONF, struct.pack("iP", length, place))
    if reply is None:
        return ""
    return names_by_address(entries.tobytes()[: struct.unpack("iP", reply)[0]]).get(address, "")


def names_by_address(entries: bytes) -> dict[str, str]:
    """Read the entries of SIOCGIFCONF: interfaces by each of their addresses, without labels."""
    found = {}
    for at in range(0, len(entries) - _ENTRY + 1, _ENTRY):
        entry = entries[at : at + _ENTRY]
        label = entry[:_NAME].split(b"\0")[0].decode(errors="replace")
        found[socket.inet_ntoa(entry[_ADDRESS])] = label.partition(":")[0]
    return found


def is_card(name: str) -> bool:
    """Whether an interface is a device of its own: no loopback, bridge, veth or the like."""
    return bool(name) and Path("/sys/class/net", name, "device").exists()


def ring_of(name: str) -> Ring | None:
    """Return the ring of a card, None where it tells of none."""
    reply = _ask(name, _RING.pack(_GET_RING, *[0] * 8))
    return read_ring(reply) if reply else None


def read_ring(reply: bytes) -> Ring:
    """Read a `struct ethtool_ringparam`: four maxima, then what there is; of received packets."""
    _, most, _, _, _, current, *_ = _RING.unpack(reply)
    return Ring(current, most)


def joins_packets(name: str) -> bool | None:
    """Return whether packets are joined before they are handed over (GRO), None if not known."""
    reply = _ask(name, _VALUE.pack(_GET_GRO, 0))
    return bool(_VALUE.unpack(reply)[1]) if reply else None


def _ask(name: str, question: bytes) -> bytes | None:
    """Have the kernel fill in a structure of ethtool's; None where the interface has no such."""
    answer = array("B", question)
    request = _REQUEST.pack(name.encode(), answer.buffer_info()[0])
    return None if _ioctl(_SIOCETHTOOL, request) is None else answer.tobytes()


def _ioctl(number: int, request: bytes) -> bytes | None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            return fcntl.ioctl(any_socket, number, request)
    except OSError:
        return None
