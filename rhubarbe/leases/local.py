"""Leases that this gateway keeps by itself: made and given back one at a time, among all users."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from rhubarbe.errors import LeaseError
from rhubarbe.leases.lease import Lease, overlapping, refuse_the_past
from rhubarbe.leases.store import Store
from rhubarbe.leases.times import moment
from rhubarbe.leases.user import User, user_called
from rhubarbe.shared.state import Tell, keep_quiet
from rhubarbe.text import and_more


class LocalDesk:
    """The leases in `state_dir`; what touches the disk runs in a thread."""

    def __init__(self, state_dir: str | Path, user: User, tell: Tell = keep_quiet) -> None:
        self._store = Store(state_dir, tell)
        self._user = user

    async def leases(self, after: float, before: float) -> Sequence[Lease]:
        """Return the leases that overlap this time, in its order; raises LeaseError."""
        return overlapping(await asyncio.to_thread(self._store.read), after, before)

    async def book(self, begins: float, ends: float, owner: str) -> Lease:
        """Make a lease; raises LeaseError where others have the time, or `owner` is another."""
        holder = self._holder(owner)
        refuse_the_past(begins, time.time())
        return await asyncio.to_thread(self._book, begins, ends, holder)

    def _holder(self, owner: str) -> User:
        if owner == self._user.name:
            return self._user
        if not self._user.is_root:
            raise LeaseError(f"only root can make a lease for another, such as {owner}")
        holder = user_called(owner)
        if holder is None:
            raise LeaseError(f"{owner}: this gateway has no such user")
        return holder

    def _book(self, begins: float, ends: float, holder: User) -> Lease:
        with self._store.locked():
            if others := overlapping(self._store.read(), begins, ends):
                raise LeaseError(f"that time is not free: {_described(others)}; nothing was booked")
            return self._store.add(begins, ends, holder)

    async def give_back(self, name: str) -> str:
        """Delete a lease, or end it now where it runs; raises LeaseError if it is another's."""
        return await asyncio.to_thread(self._give_back, name, time.time())

    def _give_back(self, name: str, now: float) -> str:
        with self._store.locked():
            lease = next((each for each in self._store.read() if each.name == name), None)
            if lease is None:
                raise LeaseError(f"{name}: no such lease; rhubarbe-leases lists them")
            if not (self._user.is_root or lease.owner == self._user.name):
                raise LeaseError(f"{name}: the lease of {lease.owner}, and not yours to delete")
            if lease.ends <= now:
                raise LeaseError(f"{name}: over since {moment(lease.ends)}, and kept as it was")
            if lease.begins > now:
                self._store.remove(lease)
                return f"lease {name} is deleted"
            self._store.shorten(lease, now)
            return f"lease {name} ends now"


def _described(leases: Sequence[Lease]) -> str:
    first = leases[0]
    words = f"{first.owner} has it from {moment(first.begins)} until {moment(first.ends)}"
    return words + and_more(len(leases) - 1)
