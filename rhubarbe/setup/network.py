"""Which networks this machine is in, as the kernel says; needs no program for that."""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GET_ADDRESS, GET_NETMASK, GET_HARDWARE = 0x8915, 0x891B, 0x8927  # SIOCGIF...
ROUTES = Path("/proc/net/route")
FORWARDS = Path("/proc/sys/net/ipv4/ip_forward")
_ETHERNET = 1
# What virtual machines and containers of this one are plugged into.
_OF_GUESTS = ("docker", "veth", "virbr", "vnet", "br-", "lxc", "lxd", "podman", "cni", "tun", "wg")


@dataclass(frozen=True, slots=True)
class Attached:
    """An interface with an IPv4 address, and the network that it is in."""

    name: str
    address: ipaddress.IPv4Interface
    is_way_out: bool  # the default route leads there

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The network."""
        return self.address.network

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"


def attached() -> list[Attached]:
    """Return the interfaces of this machine towards other ones."""
    ways_out = set(_ways_out())
    return [
        Attached(name, address, name in ways_out)
        for _, name in socket.if_nameindex()
        if not name.startswith(_OF_GUESTS)
        if (address := _address(name)) is not None and not address.is_loopback
    ]


def forwards() -> bool:
    """Tell whether this machine passes on what is for others."""
    try:
        return FORWARDS.read_text().strip() == "1"
    except OSError:
        return False


def hardware_address(interface: str) -> bytes | None:
    """Return that of an Ethernet card; None for what is none."""
    answer = _asked(interface, GET_HARDWARE)
    if answer is None or struct.unpack_from("=H", answer, 16)[0] != _ETHERNET:
        return None
    return answer[18:24]


def _address(interface: str) -> ipaddress.IPv4Interface | None:
    address, mask = _asked(interface, GET_ADDRESS), _asked(interface, GET_NETMASK)
    if address is None or mask is None:
        return None
    words = (socket.inet_ntoa(part[20:24]) for part in (address, mask))
    return ipaddress.IPv4Interface("/".join(words))


def _asked(interface: str, question: int) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            return fcntl.ioctl(any_socket, question, struct.pack("16s240x", interface.encode()))
        except OSError:
            return None


def _ways_out() -> Iterator[str]:
    try:
        lines = ROUTES.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        interface, destination, *_, mask = line.split()[:8]
        if destination == mask == "00000000":
            yield interface
