"""Who has a torrent, or parts of it, as they say themselves: so within bounds. Pure.

Whatever strangers say, those who serve it at our own address are told of first, and a peer is
forgotten for others of its own address before it is for anybody else's.
"""

import random
from collections.abc import Iterator

MOST = 4096
MOST_OF_AN_ADDRESS = 16
MOST_SEEDERS = 8
TOLD = 50
PEER_ID = 20

# The address that a peer speaks from, and what it calls itself: so nobody speaks for another.
PeerKey = tuple[str, bytes]


class TorrentPeers:
    """Where the peers of a torrent can be reached, in the compact form of BEP 23."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._seeders: dict[PeerKey, bytes] = {}
        self._others: dict[PeerKey, bytes] = {}

    def __len__(self) -> int:
        return len(self._seeders) + len(self._others)

    def forget(self, key: PeerKey) -> None:
        """Forget a peer that has stopped."""
        self._seeders.pop(key, None)
        self._others.pop(key, None)

    def note(self, key: PeerKey, where: bytes, *, has_all: bool) -> bool:
        """Note a peer; tell whether it is a seeder of ours."""
        self.forget(key)
        if has_all and key[0] == self._home and len(self._seeders) < MOST_SEEDERS:
            self._seeders[key] = where
            return True
        neighbours = [other for other in self._others if other[0] == key[0]]
        if len(neighbours) >= MOST_OF_AN_ADDRESS:
            del self._others[neighbours[0]]
        elif len(self._others) >= MOST:
            del self._others[next(iter(self._others))]
        self._others[key] = where
        return False

    def told(self, key: PeerKey) -> bytes:
        """Return of whom a peer is told: our seeders, and some of the others by chance."""
        seeders = list(_all_but(key, self._seeders))
        others = list(_all_but(key, self._others))
        return b"".join(seeders + random.sample(others, min(TOLD - len(seeders), len(others))))


def _all_but(key: PeerKey, peers: dict[PeerKey, bytes]) -> Iterator[bytes]:
    return (where for other, where in peers.items() if other != key)
