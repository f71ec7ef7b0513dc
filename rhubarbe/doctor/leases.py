"""Leases: whether who keeps them answers."""

import time

from rhubarbe.doctor.findings import skipped, told, well
from rhubarbe.doctor.site import Site
from rhubarbe.errors import LeaseError
from rhubarbe.events import Finding

DAY_S = 86400.0


async def look(site: Site) -> list[Finding]:
    """Ask for those of today."""
    backend = site.settings.leases.backend
    if backend == "none":
        return [skipped("backend = none in [leases]: nobody needs one")]
    from rhubarbe.leases.desk import open_desk  # few sites have any
    from rhubarbe.leases.user import current_user

    said: list[str] = []
    now = time.time()
    try:
        desk = open_desk(site.settings, current_user(), tell=said.append)
        leases = await desk.leases(now, now + DAY_S)
    except LeaseError as error:
        return [told(str(error), "see [leases] and [r2labapi]")]
    good = well(f"{backend}: {len(leases)} for the next day")
    return [*(told(words) for words in said), *([] if said else [good])]
