"""Who takes part in a server's session; bounded, for anybody can claim to be a new client."""

from collections.abc import Set
from typing import NamedTuple

from rhubarbe.frisbee.packets import Leave, Leave2, Statistics

_CLIENTS_KNOWN = 4096
_CLIENTS_OF_AN_ADDRESS = 64


class Client(NamedTuple):
    """A client that has joined, and has left once ``statistics`` or ``elapsed`` is known.

    ``parity``: it says that it understands repairs by parity.
    """

    address: str
    active: bool = True
    elapsed: int = 0
    statistics: Statistics | None = None
    parity: bool = False


class ClientRoster:
    """Who takes part. A client is known by its id, which belongs to the address that joined."""

    def __init__(self) -> None:
        self.clients: dict[int, Client] = {}
        self.joins = self.leaves = self.active = 0
        self.last_left = 0.0
        self.is_deceived = False  # somebody says in the name of others that they leave
        self._of_address: dict[str, dict[int, None]] = {}
        self._active_at: dict[str, int] = {}
        self._plain = 0  # active clients that do not understand parity
        self._has_others = False  # who takes part, and is not entered

    @property
    def understands_parity(self) -> bool:
        """Whether all who take part have said that they do."""
        return not self._plain and not self._has_others

    @property
    def addresses(self) -> int:
        """At how many addresses there are clients that have not left."""
        return len(self._active_at)

    def are_all(self, addresses: Set[str]) -> bool:
        """Whether nobody else takes part; which of several clients at one address, is not known."""
        return self.addresses == self.active and self._active_at.keys() <= addresses

    def join(self, client: int, address: str, *, parity: bool = False) -> str | None:
        """Enter a client; return a remark when it is not entered."""
        self.joins += 1
        known = self.clients.get(client)
        if known is not None and known.active:
            self._has_others |= not parity and (known.parity or known.address != address)
            return None if known.address == address else f"{address} uses the id of another client"
        if known is not None:
            self._forget(client)
        elif not self._has_room(address):
            self._has_others |= not parity
            return "too many clients to remember"
        self._of_address.setdefault(address, {})[client] = None
        self._begins(client, address, parity=parity)
        return None

    def _begins(self, client: int, address: str, *, parity: bool) -> None:
        self.clients[client] = Client(address, parity=parity)
        self.active += 1
        self._plain += not parity
        self._active_at[address] = self._active_at.get(address, 0) + 1

    def _has_room(self, address: str) -> bool:
        if len(self._of_address.get(address, ())) >= _CLIENTS_OF_AN_ADDRESS:
            return self._forget_one(address)
        return len(self.clients) < _CLIENTS_KNOWN or self._forget_one()

    def _forget_one(self, address: str = "") -> bool:
        """Forget a client that has left; false when there is none."""
        for client, known in self.clients.items():
            if not known.active and address in ("", known.address):
                self._forget(client)
                return True
        return False

    def _forget(self, client: int) -> None:
        address = self.clients.pop(client).address
        del self._of_address[address][client]
        if not self._of_address[address]:
            del self._of_address[address]

    def leave(self, packet: Leave | Leave2, address: str, now: float) -> bool:
        """Note that a client left; false when it had not joined from there, or left before."""
        known = self.clients.get(packet.client)
        if known is None or not known.active or known.address != address:
            return False
        statistics = packet.statistics if isinstance(packet, Leave2) else None
        self.clients[packet.client] = known._replace(
            active=False, elapsed=packet.elapsed, statistics=statistics
        )
        self.leaves += 1
        self.active -= 1
        self._plain -= not known.parity
        self._active_at[address] -= 1
        if not self._active_at[address]:
            del self._active_at[address]
        self.last_left = now
        return True

    def asks(self, address: str, *, parity: bool = False) -> None:
        """Note a request from ``address``: its clients have not left, even if a LEAVE said so."""
        clients = self._of_address.get(address, {})
        active = [known for each in clients if (known := self.clients[each]).active]
        if clients and not active:
            last = next(reversed(clients))
            self._begins(last, address, parity=parity and self.clients[last].parity)
            self.is_deceived = True
            self.leaves -= 1
        elif not parity and all(known.parity for known in active):
            self._has_others = True
