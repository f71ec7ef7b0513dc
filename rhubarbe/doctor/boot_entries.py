"""The boot entries of nodes: whether they are there, and can be read by who serves them."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.doctor.boot_files import LONGEST_ENTRY, files_in
from rhubarbe.doctor.findings import nodes, skipped, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.places import quoted
from rhubarbe.shared.own import is_there, read_file, status_of
from rhubarbe.shared.trust import name_of
from rhubarbe.transports.netboot import Link


async def look(site: Site) -> list[Finding]:
    """Look at each boot entry once, whoever boots it, and for links that lead nowhere."""
    entries: dict[Path, tuple[Link, list[int]]] = {}
    found: list[Finding] = []
    for entry, link in site.links():
        place = link.path.parent / link.entry
        entries.setdefault(place, (link, []))[1].append(entry.number)
        found += await in_passing(site.limit_s, _of_link, link)
    for place, (link, numbers) in entries.items():
        found += await in_passing(site.limit_s, _of_entry, place, link, nodes(numbers))
    return found


def _of_link(link: Link) -> list[Finding]:
    """Tell of a link that is there, but leads to nothing."""
    try:
        seen = link.seen()
    except OSError:  # of which the check of links tells
        return []
    if seen is None or not seen.is_link or seen.entry == link.entry:
        return []
    if is_there(link.path.parent / seen.entry):
        return []
    path = link.path
    return [wrong(f"{path}: leads to {seen.entry}, which is not there", f"rm {quoted(path)}")]


def _of_entry(place: Path, link: Link, numbers: str) -> list[Finding]:
    try:
        is_there = link.has_entry()
    except OSError:
        return [skipped(f"{place.parent} cannot be looked into: see links")]
    if not is_there:
        return [
            wrong(
                f"{place}: no such boot entry; see {link.said_by}",
                f"rhubarbe-ramdisk build --output {quoted(place.parent.parent)}",
            )
        ]
    names = _names_in(place)
    faults = list(_of_modes(place, names))
    named = f", by {', '.join(names)}" if names else ""
    return faults or [well(f"{place}: boots {numbers}{named}")]


def _of_modes(place: Path, names: Iterable[str]) -> Iterator[Finding]:
    """Tell of what a server that is not root could not read: an entry, and what that names.

    The kernel and the initrd are usually in the directory above.
    """
    for path in (place, *(place.parent.parent / name.lstrip("/") for name in names)):
        if (status := status_of(path)) is None:
            continue
        if not status.st_mode & stat.S_IROTH:
            text = f"{path}: only {name_of(status.st_uid)} and its group can read it"
            yield wrong(text, f"chmod a+r {quoted(path)}")
        elif status.st_size == 0:
            repair = f"rhubarbe-ramdisk build --output {quoted(place.parent.parent)}"
            yield wrong(f"{path}: is empty", repair)


def _names_in(place: Path) -> list[str]:
    """Return which files an entry names, which is read once; none where it cannot be read."""
    try:
        content = read_file(os.fspath(place), LONGEST_ENTRY) or b""
    except OSError:
        return []
    return files_in(content.decode("utf-8", "replace"))
