"""The images of a directory."""

import os
import stat
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.concurrency.time_limit import within
from rhubarbe.errors import ImageError
from rhubarbe.repository.naming import SUFFIX
from rhubarbe.shared.directory import Directory, StrPath
from rhubarbe.shared.trust import Distrust

LISTED_WITHIN_S = 20.0
# Files may have times that no date has: the start of the epoch, and some year of the 23rd century.
LATEST = 2.0**33


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a directory, `modified` in seconds; `aliases` are the names of links to it."""

    path: Path
    size: int
    modified: float
    aliases: tuple[str, ...]

    @property
    def name(self) -> str:
        """The image's name without its suffix."""
        return _name(self.path.name)


def list_images(directory: StrPath) -> list[Image]:
    """Return the images of a directory by name; links count as aliases, what is no file as nothing.

    A directory that does not exist or cannot be read has none. Raises ImageError for one that
    is a stranger's link, has far too many, or does not answer.
    """
    try:
        return within(LISTED_WITHIN_S, _images, Path(directory))
    except (Distrust, TimeoutError) as error:
        said = str(error)
        raise ImageError(said if isinstance(error, Distrust) else f"{directory}: {said}") from error
    except OSError:
        return []


def _images(path: Path) -> list[Image]:
    with Directory.open(path, follows=True) as directory:
        files, links = _looked_at(directory)
        aliases = aliases_in(directory, links)
    return [
        Image(
            path / name,
            status.st_size,
            min(max(status.st_mtime, 0.0), LATEST),
            tuple(map(_name, aliases.get(name, ()))),
        )
        for name, status in files.items()
    ]


def _looked_at(directory: Directory) -> tuple[dict[str, os.stat_result], list[str]]:
    """Return the files and the links among the images; what cannot be looked at is neither."""
    files: dict[str, os.stat_result] = {}
    links: list[str] = []
    for name in directory.names(SUFFIX):
        try:
            status = directory.status_of(name)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):  # whoever opens a pipe waits, and a device has no end
            files[name] = status
        elif stat.S_ISLNK(status.st_mode):
            links.append(name)
    return files, links


def aliases_in(directory: Directory, links: list[str]) -> dict[str, list[str]]:
    """Return which of the links lead to each name of the same directory."""
    aliases: dict[str, list[str]] = defaultdict(list)
    for link in links:
        try:
            there, name = Directory.of(directory.where(link), aliases=True)
        except OSError:  # to itself, to nowhere, or a stranger's
            continue
        with there:
            if os.path.samestat(there.status, directory.status):
                aliases[name].append(link)
    return aliases


def _name(file: str) -> str:
    return file.removesuffix(SUFFIX)
