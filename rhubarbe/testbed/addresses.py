"""Addresses of a testbed; on the loopback, one 127.A.0.0/16, claimed for as long as it lives."""

import errno
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

from rhubarbe.testbed.errors import NoRoom

FIRST, LAST = 16, 250
PER_ROW = 250  # hosts used in each 127.A.B.0/24


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the services, the same on every node; all above 1023: no root needed."""

    cmc: int = 8080
    telnet: int = 2323
    ssh: int = 2222

    def shifted(self, by: int) -> "Ports":
        """Move the ports up together, for a machine where something listens on all addresses."""
        return Ports(self.cmc + by, self.telnet + by, self.ssh + by)


class Addresses(Protocol):
    """Where each thing of a testbed is."""

    @property
    def ports(self) -> Ports:
        """The ports of the services, the same on every node."""

    def card(self, node: int) -> str:
        """Return the address of the power card of a node."""

    def control(self, node: int) -> str:
        """Return the address of the node itself."""

    def data(self, node: int) -> str:
        """Return the address of the node's second interface, where nothing listens."""

    def mac(self, node: int, interface: int) -> str:
        """Return the hardware address of an interface: the card's 0, control 1, data 2."""


def local_mac(testbed: int, node: int, interface: int) -> str:
    """Make a locally administered address, in upper case as many inventories have it."""
    octets = (0x02, 0xAB, testbed, interface, node >> 8 & 0xFF, node & 0xFF)
    return ":".join(f"{octet:02X}" for octet in octets)


class Network:
    """A claimed 127.A.0.0/16 with its ports; the claim is a listening socket, closed at the end."""

    def __init__(self, number: int, ports: Ports, claim: socket.socket) -> None:
        self.number = number
        self.ports = ports
        self._claim = claim

    @classmethod
    def claim(cls) -> Self:
        """Take a free network; raises NoRoom when there is none."""
        numbers = list(range(FIRST, LAST + 1))
        random.shuffle(numbers)
        for shift in range(0, 10_000, 1_000):
            ports = Ports().shifted(shift)
            for number in numbers:
                claim = _listen(f"127.{number}.255.254", ports)
                if claim is not None:
                    return cls(number, ports, claim)
        raise NoRoom("no free loopback network 127.A.0.0/16: too many testbeds run here")

    def card(self, node: int) -> str:
        """Return the address of the power card of a node."""
        return f"127.{self.number}.{node // PER_ROW}.{node % PER_ROW + 1}"

    def control(self, node: int) -> str:
        """Return the address of the node itself."""
        return f"127.{self.number}.{128 + node // PER_ROW}.{node % PER_ROW + 1}"

    def data(self, node: int) -> str:
        """Return the address of the node's second interface, where nothing listens."""
        return f"127.{self.number}.{64 + node // PER_ROW}.{node % PER_ROW + 1}"

    def mac(self, node: int, interface: int) -> str:
        """Return the hardware address of an interface: the card's 0, control 1, data 2."""
        return local_mac(self.number, node, interface)

    def __str__(self) -> str:
        return f"127.{self.number}.0.0/16"

    def close(self) -> None:
        """Give the network back."""
        self._claim.close()


def _listen(address: str, ports: Ports) -> socket.socket | None:
    """Claim an address by listening on the card's port, if all the ports are free there."""
    claims = list(_bound(address, ports))
    for spare in claims[1:]:
        spare.close()
    if len(claims) == 1 + 2:
        claims[0].listen()
        return claims[0]
    for claim in claims[:1]:
        claim.close()
    return None


def _bound(address: str, ports: Ports) -> Iterator[socket.socket]:
    for port in (ports.cmc, ports.telnet, ports.ssh):
        bound = socket.socket()
        try:
            bound.bind((address, port))
        except OSError as error:
            bound.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            return
        yield bound
