"""The images of a directory."""

from __future__ import annotations

import os
import stat
from collections import defaultdict

from rhubarbe import TYPE_CHECKING
from rhubarbe.images.naming import SUFFIX
from rhubarbe.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed import StrPath


# Files may have times that no date has: the start of the epoch, and some year of the 23rd century.
LATEST = 2.0**33


class Image(Record):
    """One image of a directory, `modified` in seconds; `aliases` are the names of links to it."""

    path: str
    size: int
    modified: float
    aliases: tuple[str, ...]

    @property
    def name(self) -> str:
        """The image's name without its suffix."""
        return _name(self.path)


def list_images(directory: StrPath) -> list[Image]:
    """Return the images of a directory by name; links count as aliases, what is no file as nothing.

    A directory that does not exist or cannot be read has none.
    """
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIX))
    except OSError:
        return []
    aliases: dict[str, list[str]] = defaultdict(list)
    files: dict[str, os.stat_result] = {}
    for path, status in _readable(os.path.join(directory, name) for name in names):
        if os.path.islink(path):
            aliases[os.path.realpath(path)].append(_name(path))
        else:
            files[path] = status
    real = os.path.realpath(directory)
    return [
        Image(
            path,
            status.st_size,
            min(max(status.st_mtime, 0.0), LATEST),
            tuple(aliases.get(os.path.join(real, os.path.basename(path)), ())),
        )
        for path, status in files.items()
    ]


def _name(path: str) -> str:
    return os.path.basename(path).removesuffix(SUFFIX)


def _readable(paths: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):  # whoever opens a pipe waits, and a device has no end
            yield path, status
