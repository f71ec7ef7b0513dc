"""Where leases are asked for, made and given back, whichever backend keeps them."""

from collections.abc import Sequence
from typing import Protocol

from rhubarbe.config import Settings
from rhubarbe.errors import LeaseError
from rhubarbe.leases.lease import Lease
from rhubarbe.leases.user import User
from rhubarbe.shared.state import Tell, keep_quiet


class Desk(Protocol):
    """One backend, asked by one user; times are in seconds since the epoch."""

    async def leases(self, after: float, before: float) -> Sequence[Lease]:
        """Return the leases that overlap this time, in its order; raises LeaseError."""

    async def book(self, begins: float, ends: float, owner: str) -> Lease:
        """Make a lease for `owner`; raises LeaseError where the time is not free."""

    async def give_back(self, name: str) -> str:
        """Delete a lease, or end it now where it runs; return what was done, in words."""


def open_desk(
    settings: Settings, user: User, email: str = "", password: str = "", tell: Tell = keep_quiet
) -> Desk:
    """Return the backend that the configuration names; raises LeaseError where there is none.

    A service may want to know email and password of who writes. `tell` is told, from whatever
    thread, of what others keep that cannot be read.
    """
    match settings.leases.backend:
        case "local":
            from rhubarbe.leases.local import LocalDesk

            return LocalDesk(settings.testbed.state_dir, user, tell)
        case "r2labapi":
            from rhubarbe.leases.remote import RemoteDesk

            return RemoteDesk(settings, email, password)
        case _:
            raise LeaseError("no leases are kept here: backend is none in [leases]")
