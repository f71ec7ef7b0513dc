"""All checks side by side, each within its time; told in the order of the table."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.doctor import configuration, inventory
from rhubarbe.doctor.findings import told, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.doctor.table import CHECKS, Look
from rhubarbe.errors import RhubarbeError, why
from rhubarbe.events import Finding, Finished, Health, Started
from rhubarbe.inventory import Entry
from rhubarbe.node.keys import import_library

CONFIGURATION, INVENTORY = "configuration", "inventory"
NAMES = (CONFIGURATION, INVENTORY, *CHECKS)
# A check gives up what takes too long by itself, and can still tell of the rest.
MORE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How far configuration and inventory could be read; `settings` are None where not at all."""

    settings: Settings | None = None
    fault: str = ""
    inventory_faults: Sequence[str] = ()
    entries: Sequence[Entry] = ()


async def examine(reading: Reading, names: Collection[str], limit_s: float, bus: Bus) -> None:
    """Run the checks of these names, with `limit_s` seconds for each; tell the bus.

    What cannot be read ends it: nothing else could be known.
    """
    started = time.monotonic()
    bus.report(Started(command="doctor", nodes=tuple(entry.name for entry in reading.entries)))
    is_well = True
    for finding in _read(reading, names):
        bus.report(finding)
        is_well &= finding.health is not Health.WRONG
    if reading.settings is not None and not reading.inventory_faults:
        import_library()
        site = Site(reading.settings, reading.entries, limit_s)
        is_well &= await _look(site, names, bus)
    seconds = time.monotonic() - started
    code = 0 if is_well else 1
    bus.report(Finished(command="doctor", good="", bad="", exit_code=code, seconds=seconds))


def _read(reading: Reading, names: Collection[str]) -> list[Finding]:
    found = []
    if CONFIGURATION in names or reading.fault:
        for finding in configuration.look(reading.fault):
            found.append(replace(finding, check=CONFIGURATION))
    if reading.settings and (INVENTORY in names or reading.inventory_faults):
        for finding in inventory.look(reading.settings, reading.inventory_faults, reading.entries):
            found.append(replace(finding, check=INVENTORY))
    return found


async def _look(site: Site, names: Collection[str], bus: Bus) -> bool:
    """Run the checks; tell whether nothing is wrong."""
    async with asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(_checked(look, site), name=name)
            for name, look in CHECKS.items()
            if name in names
        }
        is_well = True
        for name, task in tasks.items():
            for finding in await task:
                bus.report(replace(finding, check=name))
                is_well &= finding.health is not Health.WRONG
    return is_well


async def _checked(look: Look, site: Site) -> list[Finding]:
    """Run one check; whatever ends it is what it found."""
    try:
        async with asyncio.timeout(site.limit_s + MORE_S):
            return await look(site)
    except TimeoutError as error:
        return [wrong(f"no answer in {site.limit_s:g} s{_said(error)}", advice="see --timeout")]
    except RhubarbeError as error:
        return [told(str(error))]
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return [wrong(f"{where}{why(error)}")]


def _said(error: TimeoutError) -> str:
    return f": {error}" if str(error) else ""
