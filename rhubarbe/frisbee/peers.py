"""Who the server is, and who only pretends to be: named and counted, within bounds."""

import socket
from dataclasses import dataclass
from typing import Literal

PacketKind = Literal["blocks", "replies", "others"]
_MOST_ADDRESSES = 16
_MOST_CANDIDATES = 8
_BEYOND = f"other than these {_MOST_ADDRESSES} addresses"


@dataclass(slots=True)
class Ignored:
    """What came from an address that is not the server's, or made no sense, and was dropped."""

    address: str
    blocks: int = 0
    replies: int = 0
    others: int = 0

    def __str__(self) -> str:
        counts = [
            _several(self.blocks, "block", "blocks"),
            _several(self.replies, "reply", "replies"),
            _several(self.others, "other packet", "other packets"),
        ]
        return f"Ignored what came from {self.address}: {', '.join(filter(None, counts))}"


def _several(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}" if count else ""


class Peers:
    """The server of a session: the one that was given, else the first that answers.

    What is not its own is counted by the address that it came from, as far as the network tells
    that; beyond so many addresses, for all others together. Who else would have been taken for the
    server is remembered: of those that answer, only one that can prove it is right.
    """

    def __init__(self, server: str = "") -> None:
        self.server = server
        self.source = socket.inet_aton(server) if server else b""
        self._is_settled = bool(server)
        self._candidates: list[str] = []
        self._ignored: dict[str, Ignored] = {}

    def choose(self, address: str) -> None:
        """Take a host for the server."""
        self.server, self.source = address, socket.inet_aton(address)

    def offer(self, address: str) -> None:
        """Remember a host that answered too, but later."""
        if address not in self._candidates and len(self._candidates) < _MOST_CANDIDATES:
            self._candidates.append(address)

    def settle(self) -> None:
        """Note that the server is the right one."""
        self._is_settled = True

    def turn(self) -> bool:
        """Take the next of those that answered for the server; false if it is settled."""
        if self._is_settled or not self._candidates:
            return False
        self._candidates.append(self.server)
        self.choose(self._candidates.pop(0))
        return True

    def ignore(self, address: str, kind: PacketKind, count: int = 1) -> None:
        """Count what was dropped."""
        if address not in self._ignored and len(self._ignored) >= _MOST_ADDRESSES:
            address = _BEYOND
        ignored = self._ignored.setdefault(address, Ignored(address))
        setattr(ignored, kind, getattr(ignored, kind) + count)

    @property
    def ignored(self) -> list[Ignored]:
        """What was dropped, by address."""
        return list(self._ignored.values())

    @property
    def blame(self) -> str:
        """Whom wrong blocks are from that came from the server's address."""
        return (
            f"somebody on the network sends in the name of {self.server}, or it serves another"
            " image, or one that was changed meanwhile"
        )

    def described(self, rejected: int, times: int) -> list[str]:
        """Return a line for all that was not the server's.

        So many chunks were wrong, each at least once: so many `times` in all.
        """
        lines = [str(each) for each in self.ignored]
        if rejected:
            chunks = _several(rejected, "chunk", "chunks")
            again = f", {times} times in all" if times > rejected else ""
            what = f"Rejected {chunks} that the manifest does not vouch for{again}"
            lines.insert(0, f"{what}: {self.blame}")
        return lines
