"""Where an image comes from: what each save notes in /etc/rhubarbe-image of the disk that it saves.

The image carries that file, so its provenance goes wherever the image goes. Each save adds a line:
`2026-03-19@10:24:05 - node fit04 - image mywork - by alice - with my tools`, the last words being
the comment, if any; the line before it is of the image that was on the disk.
"""

from __future__ import annotations

import re

from rhubarbe import TYPE_CHECKING
from rhubarbe.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed import StrPath

STAMP = "etc/rhubarbe-image"

_LINE = (
    r"(?P<when>.*?) - (?:node (?P<node>\S+) +- )?image (?P<image>.+?) +- by (?P<user>\S+)"
    r"(?: - (?P<comment>.*))?"
)


class Stamp(Record):
    """One save; what the line does not say is empty. All was written by others: untrusted."""

    image: str
    when: str
    node: str
    user: str
    comment: str

    @property
    def date(self) -> str:
        """When, as `2026-03-19 10:24`, or what the line says instead."""
        from datetime import datetime  # listing images without it is quicker

        try:
            return f"{datetime.strptime(self.when, '%Y-%m-%d@%H:%M:%S'):%Y-%m-%d %H:%M}"
        except ValueError:
            return self.when


def parse_stamps(text: str) -> list[Stamp]:
    """Return the saves that /etc/rhubarbe-image tells of, the latest last; skip other lines."""
    return list(_stamps(text))


def _stamps(text: str) -> Iterator[Stamp]:
    for line in text.splitlines():
        if match := re.fullmatch(_LINE, line.strip()):
            found = {name: value or "" for name, value in match.groupdict().items()}
            yield Stamp(**found)


def ancestors(stamps: Iterable[Stamp]) -> list[str]:
    """Return the images that an image descends from, its parent first."""
    return [stamp.image for stamp in reversed(list(stamps)[:-1])]


def provenance(image: StrPath) -> list[Stamp]:
    """Return the saves that led to an image, the latest last; none where it does not tell.

    Only an ext2, ext3 or ext4 filesystem inside an image is understood; what cannot be read, and
    what is damaged, tells nothing.
    """
    # Needs the format, which takes its time to import: not for those who only list.
    from rhubarbe.images.extfs import Unreadable, read_file
    from rhubarbe.images.sectors import DiskInside
    from rhubarbe.ndz.errors import NdzError

    try:
        with DiskInside(image) as disk:
            for start in disk.partitions():
                try:
                    return parse_stamps(read_file(disk, start, STAMP).decode(errors="replace"))
                except Unreadable:
                    continue
    except (OSError, NdzError):
        return []
    return []
