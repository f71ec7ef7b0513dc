"""Who may write which directory: what commands tell each other, nextboot links, and images."""

from pathlib import Path

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.doctor.findings import all_of, told
from rhubarbe.doctor.site import Site
from rhubarbe.errors import GatewayError, why
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.places import image_faults, link_faults, state_faults
from rhubarbe.gateway.state.history import History
from rhubarbe.gateway.state.journal import Journal
from rhubarbe.repository import known_names


async def state(site: Site) -> list[Finding]:
    """Look at `state_dir`, and try whether we can note something there."""
    place = site.settings.testbed.state_dir
    faults = await in_passing(site.limit_s, state_faults, place)
    if not faults:
        faults = await in_passing(site.limit_s, _state_trial, place)
    return all_of(faults, f"{place}: all users can note there what others need to know")


def _state_trial(place: Path) -> list[str]:
    said: list[str] = []
    try:
        Journal(place, "doctor", 0.0).try_out()
    except OSError as error:
        said.append(f"{place}: nothing can be noted there: {why(error)}")
    History(place).runs(said.append)
    return said


async def links(site: Site) -> list[Finding]:
    """Look at the directories of nextboot links, and try whether we can make one for each node."""
    by_place: dict[Path, list[str]] = {}
    for _, link in site.links():
        place = link.path.parent
        if place not in by_place:
            by_place[place] = await in_passing(site.limit_s, link_faults, place, link.said_by)
        if not by_place[place]:
            try:
                await in_passing(site.limit_s, link.try_out)
            except (OSError, GatewayError) as error:
                by_place[place].append(_worded(place, error))
    found = []
    for place, faults in by_place.items():
        found += all_of(faults, f"{place}: you can make nextboot links there")
    return found


def _worded(place: Path, error: Exception) -> str:
    said = str(error)
    if said.startswith(f"{place}"):
        return said
    return f"{place}: no nextboot link can be made there: {why(error)}"


async def images(site: Site) -> list[Finding]:
    """Look at the repository."""
    place = site.settings.frisbee.images_dir
    faults = await in_passing(site.limit_s, image_faults, place)
    if faults:
        return [told(fault) for fault in faults]
    names = await in_passing(site.limit_s, known_names, place)
    return all_of([], f"{place}: {len(names) or 'no'} names of images, and nobody can replace one")
