"""Disk space: for one more image, and for what commands note."""

import os
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.doctor.findings import well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.places import quoted
from rhubarbe.repository import list_images
from rhubarbe.shared.directory import Directory
from rhubarbe.text import size_of

LEAST_FOR_IMAGES = 256 << 20
LEAST_FOR_NOTES = 16 << 20
LEAST_FILES = 64


async def look(site: Site) -> list[Finding]:
    """Look at the disks of images, notes and links."""
    return await in_passing(site.limit_s, lambda: list(_findings(site)))


def _findings(site: Site) -> Iterator[Finding]:
    settings = site.settings
    images = settings.frisbee.images_dir
    largest = max((image.size for image in list_images(images)), default=0)
    yield from _room(images, max(largest, LEAST_FOR_IMAGES), "one more image")
    yield from _room(settings.testbed.state_dir, LEAST_FOR_NOTES, "notes")
    for place in dict.fromkeys(link.path.parent for _, link in site.links()):
        yield from _room(place, 0, "nextboot links")


def _room(place: Path, needed: int, what: str) -> Iterator[Finding]:
    try:
        with Directory.open(place, follows=True) as directory:
            status = os.fstatvfs(directory.descriptor)
    except OSError:  # another check tells of that
        return
    free = status.f_bavail * status.f_frsize
    if free < needed:
        advice = f"see what is large: du -xh --max-depth=2 {quoted(place)} | sort -h | tail"
        if what == "one more image":
            advice = "remove images (rhubarbe-images -s tells which are large), or enlarge the disk"
        text = f"{place}: {size_of(free)} free, and {what} may take {size_of(needed)}"
        yield wrong(text, advice=advice)
    elif status.f_files and status.f_favail < LEAST_FILES:
        yield wrong(
            f"{place}: {status.f_favail} more files can be made there, which is too few for {what}",
            advice="remove files on that disk: df -i tells which is full",
        )
    elif needed:
        yield well(f"{place}: {size_of(free)} free")
