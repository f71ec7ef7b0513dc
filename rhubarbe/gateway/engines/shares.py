"""The gateway's bandwidth, shared by the loads that send at the same time, whoever's they are.

Each load that sends has a seat, which is a claim (`rhubarbe.shared.claims`) among those who have
the same `state_dir`: it goes when its holder dies, however that dies. Who asks is told how much the
holder would take, which is a stranger's word, and counts for no more than all that there is.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from rhubarbe.shared.claims import Claimant, ask, make_claim, tell
from rhubarbe.shared.state import StateDirectory

SEATS = 64
LOOK_AGAIN_S = 1.0
LONGEST_WISH = 9


def fair_share(wanted: float, others: Sequence[float], capacity: float) -> float:
    """Return how much one may take of a capacity, in the unit of all of these.

    Who wants less than an equal part gets that, and the others have the rest in equal parts. Who is
    alone takes what it wants.
    """
    if not others:
        return wanted
    left, waiting = capacity, 1 + len(others)
    for demand in sorted(others):
        part = left / waiting
        if demand >= part:
            break
        left, waiting = left - demand, waiting - 1
    return min(wanted, left / waiting)


class Share:
    """What one load may take now, in whole Mibit/s; made by `sending`."""

    def __init__(self, place: str, wanted_mibps: int, capacity_mibps: int) -> None:
        self._place = place
        self._wanted = wanted_mibps
        self._capacity = capacity_mibps
        self._seat = -1
        self._receivers = 0
        self.mibps = wanted_mibps
        self.senders = 1
        """How many loads send now, this one among them."""

    @property
    def pace(self) -> float:
        """Which part of what we would take we have, at most 1."""
        return min(1.0, self.mibps / self._wanted)

    def take_seat(self) -> socket.socket | None:
        """Take the first free seat; None where there is none, and then nobody knows of us."""
        for seat in range(SEATS):
            with contextlib.suppress(OSError):
                if claim := make_claim(self._place, f"sender/{seat}"):
                    self._seat = seat
                    return claim
        return None

    def answer(self, claim: socket.socket) -> None:
        """Tell one who asks how much we would take, which is nothing while nobody receives."""
        tell(claim, str(self._wanted if self._receivers else 0))

    @contextlib.contextmanager
    def receiver(self) -> Iterator[None]:
        """Count one that receives, for the length of the context."""
        self._receivers += 1
        try:
            yield
        finally:
            self._receivers -= 1

    async def look(self) -> None:
        """Find out who sends now, and what that leaves for us."""
        others = await asyncio.to_thread(self._others)
        share = fair_share(self._wanted, others, self._capacity)
        self.mibps, self.senders = max(1, int(share)), 1 + len(others)

    def _others(self) -> list[float]:
        asked = (ask(self._place, f"sender/{seat}") for seat in range(SEATS) if seat != self._seat)
        wishes = [self._wish(claimant) for claimant in asked if claimant is not None]
        return [wish for wish in wishes if wish]

    def _wish(self, claimant: Claimant) -> float:
        """Read what another would take; one that says nothing of use would take all."""
        words = claimant.words
        is_number = len(words) <= LONGEST_WISH and words.isascii() and words.isdecimal()
        wish = int(words) if is_number else self._capacity
        return min(wish, self._capacity)

    async def follow(self, change: Callable[[int], None]) -> NoReturn:
        """Call `change` with each new share, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            before = self.mibps
            await self.look()
            if self.mibps != before:
                change(self.mibps)


@contextlib.asynccontextmanager
async def sending(state_dir: Path, wanted_mibps: int, capacity_mibps: int) -> AsyncIterator[Share]:
    """Count as one that sends for the length of the context; raises GatewayError or OSError."""
    place = await asyncio.to_thread(StateDirectory(state_dir).key)
    share = Share(place, wanted_mibps, capacity_mibps)
    loop = asyncio.get_running_loop()
    with share.take_seat() or contextlib.nullcontext() as claim:
        if claim is not None:
            loop.add_reader(claim, share.answer, claim)
        try:
            await share.look()
            yield share
        finally:
            if claim is not None:
                loop.remove_reader(claim)
