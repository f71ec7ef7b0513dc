"""The clock: whether it can be right, and whether somebody keeps it so."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import rhubarbe
from rhubarbe.concurrency.program import run_program
from rhubarbe.concurrency.threads import in_passing
from rhubarbe.doctor.findings import skipped, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.places import quoted
from rhubarbe.shared.own import status_of

# What is older than this program cannot be now; a file may be some seconds ahead, over NFS.
SLACK_S = 120.0
MOST_ANSWERED = 4096
KEEPERS = (
    (("timedatectl", "show", "--property=NTPSynchronized", "--value"), "yes"),
    (("chronyc", "-n", "-c", "tracking"), ""),
)
REPAIR = "timedatectl set-ntp true"


async def look(site: Site) -> list[Finding]:
    """Compare with the dates of files that must have been before; ask who keeps it."""
    now = time.time()
    latest, path = await in_passing(site.limit_s, _latest, site)
    if latest > now + SLACK_S:
        then = datetime.fromtimestamp(latest).astimezone()
        return [
            wrong(
                f"it is {_worded(now)}, but {path} is of {then:%Y-%m-%d %H:%M}: the clock is"
                " behind, or was ahead; leases and the history go by it",
                f"{REPAIR}; touch {quoted(path)}",
            )
        ]
    return [await _kept(site, now)]


def _latest(site: Site) -> tuple[float, Path]:
    """Return the latest date of what was made before now, and its path."""
    files = (Path(rhubarbe.__file__).with_name("VERSION"), site.settings.testbed.inventory_path)
    found = [(0.0, files[0])]
    for path in files:
        if (status := status_of(path)) is not None:
            found.append((status.st_mtime, path))
    return max(found)


async def _kept(site: Site, now: float) -> Finding:
    for words, expected in KEEPERS:
        if shutil.which(words[0]) is None:
            continue
        answer = await _answer_of(words, site.limit_s / 2)
        if answer is None:
            continue
        if words[0] == "timedatectl" and answer != expected:
            return wrong(f"it is {_worded(now)}, and timedatectl says: not synchronised", REPAIR)
        return well(f"it is {_worded(now)}, synchronised as {words[0]} says")
    return skipped(f"it is {_worded(now)}; nobody here says whether it is synchronised")


async def _answer_of(words: Sequence[str], within_s: float) -> str | None:
    """Return what a program writes; None where it fails."""
    try:
        async with asyncio.timeout(within_s):
            ended = await run_program(words, most=MOST_ANSWERED)
    except OSError:  # TimeoutError is one
        return None
    return ended.output.decode("utf-8", "replace").strip() if ended.status == 0 else None


def _worded(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M %Z}"
