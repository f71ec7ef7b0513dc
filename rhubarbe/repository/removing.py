"""Removing images: one's own, or with the right to; never one that somebody reads or writes.

Nothing is removed before all is known to be removable: `plan_removal` returns the steps, each with
its words. What was cut short is removed when it has expired, by whoever comes by.
"""

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.concurrency.time_limit import within
from rhubarbe.errors import ImageError, why
from rhubarbe.repository.finding import find_image, real_path
from rhubarbe.repository.listing import aliases_in
from rhubarbe.repository.naming import PARTIAL, SUFFIX
from rhubarbe.shared.directory import SAFELY, Directory
from rhubarbe.shared.in_use import alone
from rhubarbe.shared.trust import Distrust, name_of
from rhubarbe.text import size_of

SECONDS_A_DAY = 86400.0
REMOVED_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Removal:
    """An image to be removed, or a link to one; `aliases` are links that go with it."""

    path: Path
    told: str
    aliases: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What it does, as an order."""
        also = f", and {', '.join(self.aliases)}, which lead to it" if self.aliases else ""
        return f"remove {self.path} ({self.told}){also}"

    def do(self) -> None:
        """Do it; raises ImageError, also where somebody has come to use it."""
        with _told(self.path), _at(self.path) as (directory, name):
            _unlink(directory, name)
            for alias in self.aliases:
                with contextlib.suppress(OSError):
                    if _is_link(directory.status_of(alias)):
                        directory.unlink(alias)
            directory.sync()


def plan_removal(names: Sequence[str], repository: Path, default: str) -> list[Removal]:
    """Return what is to be done to remove the images, or links, of these names.

    Raises ImageError where one of them is not there, may not be removed, is in use, or is what is
    loaded by `default`, which has to be another first.
    """
    kept = _default_paths(default, repository)
    plan: dict[Path, Removal] = {}
    for wanted in names:
        path = _named(wanted, repository)
        if str(path) in kept:
            raise ImageError(
                f"{path}: load takes it without -i (default_image in [frisbee]); let another be"
                f" that first: rhubarbe-share -a {default.removesuffix(SUFFIX)} OTHER"
            )
        with _told(path):
            plan[path] = within(REMOVED_WITHIN_S, _planned, path)
    return list(plan.values())


def _named(wanted: str, repository: Path) -> Path:
    """Return the path that a whole name means: never that of a radical; raises ImageError."""
    if wanted.endswith(PARTIAL):
        places = [Path(wanted)] if "/" in wanted else [Path(wanted), repository / wanted]
        for place in places:
            with contextlib.suppress(OSError), _at(place) as (directory, name):
                if directory.is_file(name):
                    return Path(directory.where(name))
        raise ImageError(f"{wanted}: no such partial image, neither here nor in {repository}")
    found = find_image(wanted, repository)
    if found.name not in {Path(wanted).name, Path(wanted).name + SUFFIX}:
        raise ImageError(f"{wanted}: no image has this name; if you mean {found.name}, say so")
    with _told(found), _at(found) as (directory, name):
        return Path(directory.where(name))


def _default_paths(default: str, repository: Path) -> set[str]:
    with contextlib.suppress(ImageError):
        found = find_image(default, repository, here=False)
        with _at(found) as (directory, name):
            return {directory.where(name), real_path(found)}
    return set()


def _planned(path: Path) -> Removal:
    with _at(path) as (directory, name):
        status = directory.status_of(name)
        _require_right(directory, name, status)
        if _is_link(status):
            return Removal(path, f"a link to {os.readlink(name, dir_fd=directory.descriptor)}")
        with _opened(directory, name) as descriptor, alone(descriptor, directory.where(name)):
            pass
        owner = "" if status.st_uid == os.getuid() else f", of {name_of(status.st_uid)}"
        return Removal(path, size_of(status.st_size) + owner, tuple(_aliases(directory, name)))


def _aliases(directory: Directory, name: str) -> Iterator[str]:
    """Yield the links to an image, of those that we may remove."""
    links: list[str] = []
    for other in directory.names(SUFFIX):
        with contextlib.suppress(OSError):
            status = directory.status_of(other)
            if _is_link(status):
                _require_right(directory, other, status)
                links.append(other)
    yield from aliases_in(directory, links).get(name, [])


def _require_right(directory: Directory, name: str, status: os.stat_result) -> None:
    """Raise Distrust where the kernel would not let us remove it."""
    where = directory.where(name)
    if not directory.is_writable:
        raise Distrust(f"{where}: you may not remove anything there; try sudo")
    if not directory.lets_remove(status):
        raise Distrust(f"{where}: belongs to {name_of(status.st_uid)}, not to you; try sudo")


def expire_partials(place: Path, days: float, *, only_tell: bool = False) -> list[str]:
    """Remove our partial images in a directory that nobody has worked on for so many days.

    Return a line for each; what cannot be removed stays, in silence. For a thread.
    """
    told: list[str] = []
    if not days:
        return told
    with contextlib.suppress(OSError), Directory.open(place, follows=True) as directory:
        for name in directory.names(SUFFIX + PARTIAL):
            with contextlib.suppress(OSError):
                status = directory.status_of(name)
                if not _has_expired(status, days):
                    continue
                if not only_tell:
                    _unlink(directory, name, days)
                told.append(
                    f"remove {directory.where(name)} ({size_of(status.st_size)}), cut short, which"
                    f" nobody has worked on for {days:g} days"
                )
    return told


def _has_expired(status: os.stat_result, days: float) -> bool:
    # rsync gives a copy the time of the original: when it was last touched, only ctime tells.
    touched = max(status.st_mtime, status.st_ctime)
    is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
    return is_ours and time.time() - touched > days * SECONDS_A_DAY


def _unlink(directory: Directory, name: str, days: float | None = None) -> None:
    """Remove a name, if it is a link, or a file that nobody has open and that has expired."""
    if _is_link(directory.status_of(name)):
        directory.unlink(name)
        return
    with _opened(directory, name) as descriptor, alone(descriptor, directory.where(name)):
        if not directory.is_named(name, descriptor):
            raise Distrust(f"{directory.where(name)}: is something else by now")
        if days is None or _has_expired(os.fstat(descriptor), days):
            directory.unlink(name)


def _is_link(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode)


@contextlib.contextmanager
def _at(path: Path) -> Iterator[tuple[Directory, str]]:
    directory, name = Directory.of(path, follows=False)
    with directory:
        yield directory, name


@contextlib.contextmanager
def _opened(directory: Directory, name: str) -> Iterator[int]:
    """Open a file, whatever other names it has."""
    descriptor = os.open(name, os.O_RDONLY | SAFELY, dir_fd=directory.descriptor)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Distrust(f"{directory.where(name)}: is no file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise ImageError for what cannot be done."""
    try:
        yield
    except Distrust as error:
        raise ImageError(str(error)) from error
    except OSError as error:  # TimeoutError is one
        raise ImageError(f"{path}: cannot be removed: {why(error)}") from error
