"""What a command asks before it touches anything: a lease now, and for how long."""

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


async def require(settings: Settings, command: str, seconds: float, bus: Bus) -> None:
    """Return when the user may run `command` now; raises LeaseError, one line, when not.

    The command may take `seconds`: a lease that ends before is told to the bus, and so is that root
    needs none. Without a backend everybody may, at no cost.
    """
    if settings.leases.backend == "none":
        return
    from rhubarbe.leases.user import current_user

    user = current_user()
    if user.is_root:
        bus.report(Notice(text=f"no lease is asked for: root may {command} at any time"))
        return
    from rhubarbe.leases.desk import open_desk

    now = time.time()
    notices: list[str] = []
    try:
        desk = open_desk(settings, user, tell=notices.append)
        leases = await desk.leases(now, now + max(AHEAD_S, seconds))
    except LeaseError as error:
        raise LeaseError(f"{error}; without a lease only root goes on: nothing touched") from error
    for text in notices:
        bus.report(Notice(text=sanitise(text)))
    if warning := _judge(leases, user, command, now, seconds):
        bus.report(Notice(text=warning))


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
