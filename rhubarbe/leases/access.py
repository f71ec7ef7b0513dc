"""What a command asks before it touches anything: a lease now, and for how long."""

import asyncio
import time
from collections.abc import Sequence

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import LeaseError
from rhubarbe.events import Notice
from rhubarbe.leases.lease import Lease
from rhubarbe.leases.user import User
from rhubarbe.text import sanitise

# How far ahead to look, at least, for a lease that prolongs the present one.
AHEAD_S = 86400.0
# A question to power cards is not held up for long by what it does not need.
WARNED_WITHIN_S = 1.0


async def require(settings: Settings, command: str, seconds: float, bus: Bus) -> None:
    """Return when the user may run `command` now; raises LeaseError, one line, when not.

    The command may take `seconds`: a lease that ends before is told to the bus. Root, and whom root
    has named as privileged, need none, and are told so. Without a backend nobody does, at no cost.
    """
    if settings.leases.backend == "none":
        return
    from rhubarbe.leases.user import current_user

    user = current_user()
    if user.needs_no_lease(settings):
        text = f"no lease is asked for: {user.name} may {command} at any time"
        bus.report(Notice(text=sanitise(text)))
        return
    now = time.time()
    try:
        leases = await _leases(settings, user, now, seconds, bus)
    except LeaseError as error:
        raise LeaseError(f"{error}; without a lease only root goes on: nothing touched") from error
    if warning := _judge(leases, user, command, now, seconds):
        bus.report(Notice(text=warning))


async def warn(settings: Settings, command: str, bus: Bus) -> None:
    """Tell the bus where the user has no lease now, of a command that needs none; in passing."""
    if settings.leases.backend == "none":
        return
    from rhubarbe.leases.user import current_user

    user = current_user()
    if user.needs_no_lease(settings):
        return
    from rhubarbe.leases.lease import end_of_use, holders

    now = time.time()
    try:
        async with asyncio.timeout(WARNED_WITHIN_S):
            leases = await _leases(settings, user, now, 0.0, bus)
    except TimeoutError:
        text = f"whether you have a lease is not known: no answer in {WARNED_WITHIN_S:g} s"
    except LeaseError as error:
        text = f"whether you have a lease is not known: {error}"
    else:
        if end_of_use(leases, user.name, now) is not None:
            return
        text = f"{user.name} has no lease now ({holders(leases, now)}); {command} needs none"
    bus.report(Notice(text=sanitise(text)))


async def _leases(
    settings: Settings, user: "User", now: float, seconds: float, bus: Bus
) -> "Sequence[Lease]":
    """Return the leases of today, and what else there is to look at; raises LeaseError."""
    from rhubarbe.leases.desk import open_desk

    notices: list[str] = []
    desk = open_desk(settings, user, tell=notices.append)
    leases = await desk.leases(now, now + max(AHEAD_S, seconds))
    for text in notices:
        bus.report(Notice(text=sanitise(text)))
    return leases


def _judge(
    leases: "Sequence[Lease]", user: "User", command: str, now: float, seconds: float
) -> str:
    """Return what to say to a user who may go on, perhaps nothing; raises LeaseError."""
    from rhubarbe.leases.lease import end_of_use, holders
    from rhubarbe.leases.times import clock, duration

    end = end_of_use(leases, user.name, now)
    if end is None:
        raise LeaseError(
            f"{user.name} has no lease now ({holders(leases, now)}), and {command} needs one:"
            " nothing was touched; rhubarbe-leases lists them, rhubarbe-book makes one"
        )
    if end >= now + seconds:
        return ""
    return (
        f"your lease ends at {clock(end, now)}, in {duration(end - now)}, but {command} may take"
        f" {duration(seconds)}"
    )
