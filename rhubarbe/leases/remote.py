"""Leases that a reservation service keeps: the owner of a lease is the name of its slice."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Sequence

from rhubarbe.config import Settings
from rhubarbe.errors import LeaseError
from rhubarbe.leases.lease import Lease, overlapping, refuse_the_past
from rhubarbe.leases.times import moment
from rhubarbe.transports.leases_api import Reservation, Reservations, Resource, utc


class RemoteDesk:
    """The service that the configuration names."""

    def __init__(self, settings: Settings, email: str = "", password: str = "") -> None:
        """Ask as what `email` and `password` allow, or the configured token, or anybody."""
        self._service = settings.r2labapi
        self._limit = settings.leases.timeout
        self._email = email
        self._password = password
        if not (self._service.url and self._service.resource_name):
            raise LeaseError("[r2labapi] needs url and resource_name where backend is r2labapi")

    async def leases(self, after: float, before: float) -> Sequence[Lease]:
        """Return the leases that overlap this time, in its order; raises LeaseError."""
        async with self._asking(writes=False) as (service, resource):
            found = await service.reservations(
                resource, after=utc(after), before=utc(math.ceil(before))
            )
        return overlapping(map(_lease, found), after, before)

    async def book(self, begins: float, ends: float, owner: str) -> Lease:
        """Make a lease for a slice; raises LeaseError.

        It may begin earlier and end later, where the resource is reserved in larger units.
        """
        refuse_the_past(begins, time.time())
        async with self._asking(writes=True) as (service, resource):
            unit = resource.granularity
            begins, ends = math.floor(begins / unit) * unit, math.ceil(ends / unit) * unit
            return _lease(await service.create(owner, begins, ends))

    async def give_back(self, name: str) -> str:
        """Delete a lease, or end it now where it runs; raises LeaseError."""
        async with self._asking(writes=True) as (service, resource):
            now = time.time()
            found = await service.reservations(resource)
            lease = next((_lease(each) for each in found if each.id == name), None)
            if lease is None:
                raise LeaseError(f"{name}: no such lease; rhubarbe-leases lists them")
            if lease.ends <= now:
                raise LeaseError(f"{name}: over since {moment(lease.ends)}, and kept as it was")
            if lease.begins > now:
                await service.delete(name)
                return f"lease {name} is deleted"
            await service.shorten(name, now)
            return f"lease {name} ends now"

    @contextlib.asynccontextmanager
    async def _asking(self, *, writes: bool) -> AsyncIterator[tuple[Reservations, Resource]]:
        """Enter the service; raises LeaseError where all of it together takes too long."""
        secret = self._service.admin_token
        if writes and not (secret or self._email):
            raise LeaseError("the reservation service wants to know who you are: give -e EMAIL")
        token = await secret.reveal() if writes and not self._email else ""
        url = self._service.url.rstrip("/")
        try:
            async with (
                asyncio.timeout(self._limit),
                Reservations(url, self._service.resource_name, token, self._limit) as service,
            ):
                if writes and self._email:
                    await service.log_in(self._email, self._password)
                yield service, await service.resource()
        except TimeoutError as error:
            raise LeaseError(
                f"the reservation service at {url}: no answer in {self._limit:g} s"
            ) from error


def _lease(told: Reservation) -> Lease:
    return Lease(told.begins, told.ends, told.slice_name, told.id)
