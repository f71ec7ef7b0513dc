"""Where an image comes from: what each save notes in /etc/rhubarbe-image of the disk that it saves.

The image carries that file, so its provenance goes wherever the image goes. Each save adds a line:
`2026-03-19@10:24:05 - node fit04 - image mywork - by alice - with my tools`, the last words being
the comment, if any; the line before it is of the image that was on the disk.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rhubarbe.errors import ImageError
from rhubarbe.shared.directory import StrPath

if TYPE_CHECKING:
    from rhubarbe.disk.ext_files import ExtFilesystem
    from rhubarbe.repository.inside import RootPartition
    from rhubarbe.repository.sectors import Deadline, DiskInside

STAMP = "etc/rhubarbe-image"

_LINE = (
    r"(?P<when>.*?) - (?:node (?P<node>\S+) +- )?image (?P<image>.+?) +- by (?P<user>\S+)"
    r"(?: - (?P<comment>.*))?"
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """One save; what the line does not say is empty. All was written by others: untrusted."""

    image: str
    when: str
    node: str
    user: str
    comment: str

    @property
    def date(self) -> str:
        """When, as `2026-03-19 10:24`, or what the line says instead."""
        from datetime import datetime  # it takes its time to import

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


def provenance(image: StrPath, root: "RootPartition | None" = None) -> list[Stamp]:
    """Return the saves that led to an image, the latest last; none where it does not tell.

    Only ext2, ext3 and ext4 filesystems inside an image are understood; what cannot be read, and
    what is damaged, tells nothing. `root` counts where several of them have stamps.
    """
    # Needs the format, which takes its time to import: not for those who only list.
    from rhubarbe.disk.errors import FilesystemError
    from rhubarbe.ndz.errors import NdzError
    from rhubarbe.repository.sectors import DiskInside

    try:
        with DiskInside(image) as disk:
            return parse_stamps(_stamp_file(disk, root))
    except (OSError, NdzError, FilesystemError):
        return []


def stamps_of(image: StrPath, root: "RootPartition", deadline: "Deadline") -> str:
    """Return the stamps that a node must show once its disk is this image; empty where it has none.

    Raises ImageError where that cannot be known: no filesystem that is understood, or one whose
    journal the node replays first.
    """
    from rhubarbe.disk.errors import FilesystemError
    from rhubarbe.ndz.errors import NdzError
    from rhubarbe.repository.sectors import DiskInside

    try:
        with DiskInside(image, deadline) as disk:
            return _stamp_file(disk, root, certain=True)
    except (OSError, NdzError, FilesystemError) as error:
        raise ImageError(f"{image}: {error}") from error


def _stamp_file(disk: "DiskInside", root: "RootPartition | None", *, certain: bool = False) -> str:
    """Return what the root's file of stamps holds; raises FilesystemError, and as the disk does.

    Where the root has none, or is none that is understood, the only other one counts.
    """
    from rhubarbe.disk.errors import FilesystemError
    from rhubarbe.repository.inside import volumes

    found = volumes(disk)
    named = [volume for volume in found if root is not None and root.is_of(volume)]
    for volume in named:
        if text := _stamps_on(volume.files, certain=certain):
            return text
    texts = [_stamps_on(volume.files, certain=certain) for volume in found if volume not in named]
    held = [text for text in texts if text]
    if len(held) > 1 and root is not None:
        raise FilesystemError(
            "several partitions have stamps, and root_partition names none of them"
        )
    if not held and not named and not any(volume.files.names("etc") for volume in found):
        raise FilesystemError("no root on an ext2, ext3 or ext4 filesystem")
    return held[0] if held else ""


def _stamps_on(files: "ExtFilesystem", *, certain: bool) -> str:
    """Return a filesystem's file of stamps; one that cannot be read is empty, unless `certain`."""
    from rhubarbe.disk.errors import AbsentFile, FilesystemError

    if certain and files.is_unclean:
        raise FilesystemError(
            "a filesystem in it was not unmounted: its journal is not replayed here"
        )
    try:
        return files.read(STAMP).decode(errors="replace")
    except AbsentFile:
        return ""
    except FilesystemError:
        if certain:
            raise
        return ""
