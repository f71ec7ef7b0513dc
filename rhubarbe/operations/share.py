"""Share: move an image into the repository, whole or not at all, and give it other names.

Nothing is done here before all the steps are known: `plan` returns them, each with its words.
"""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rhubarbe.errors import ImageError, why
from rhubarbe.images import (
    PARTIAL,
    SUFFIX,
    check_image,
    find_image,
    is_name,
    partial_path,
    sync_directory,
)
from rhubarbe.images.copying import OpenImage, copied, partial_file, path_of, put

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# What a save is called that was given no name; other versions add one in the end.
_SAVE = re.compile(r"saving__(?P<node>[^_]+)__(?P<date>[^_]+)(?:__(?P<name>.+))?\.ndz(\.partial)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRequest:
    """Which image to share, as whom; `aliases` are names of links to it."""

    image: str
    repository: Path
    name: str | None = None
    aliases: Sequence[str] = ()
    replaces: bool = False
    cleans: bool = False


class Step(Protocol):
    """One thing to do; `do` raises ImageError."""

    @property
    def words(self) -> str:
        """What it does, as an order."""
        ...

    def do(self) -> None:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """Read an image whole."""

    image: OpenImage

    @property
    def words(self) -> str:
        """What it does, as an order."""
        return f"check {self.image.path}"

    def do(self) -> None:
        """Do it; raises ImageError where it is damaged."""
        try:
            self.image.check()
        except BaseException:
            self.image.close()
            raise


@dataclass(frozen=True, slots=True)
class Move:
    """Give an image its place in the repository; it has its name there only when it is whole.

    What was checked is what is moved, whatever has its name meanwhile.
    """

    image: OpenImage
    target: Path
    replaces: bool

    @property
    def words(self) -> str:
        """What it does, as an order."""
        verb = "replace" if self.replaces and os.path.lexists(self.target) else "make"
        return f"{verb} {self.target} from {self.image.path}"

    def do(self) -> None:
        """Do it, by a new name where that is possible, else by a copy that is checked as well."""
        image = self.image
        try:
            if self._is_ours_here():
                put(image.descriptor, image.path, self.target, replaces=self.replaces)
            else:
                self._copy()
            image.forget()
        except OSError as error:
            raise ImageError(
                f"{image.path}: not wholly moved to {self.target}: {why(error)}"
            ) from error
        finally:
            image.close()

    def _copy(self) -> None:
        partial = partial_path(self.target)
        with copied(self.image.descriptor, partial) as copy:
            check_image(partial, file=path_of(copy))
            put(copy, partial, self.target, replaces=self.replaces)

    def _is_ours_here(self) -> bool:
        """Whether another name does: who else may write the file could change it."""
        status, there = self.image.status, self.target.parent.stat()
        is_here = status.st_dev == there.st_dev
        is_ours = status.st_uid == os.geteuid() and not status.st_mode & WRITABLE_BY_OTHERS
        return is_here and is_ours and status.st_nlink == 1


@dataclass(frozen=True, slots=True)
class Alias:
    """Make a link to an image, in place of a link of that name."""

    link: Path
    image: Path

    @property
    def words(self) -> str:
        """What it does, as an order."""
        before = f" (not {self.link.readlink()})" if self.link.is_symlink() else ""
        return f"let {self.link} be {self.image.name}{before}"

    def do(self) -> None:
        """Do it at one stroke."""
        new = self.link.with_name(f".{secrets.token_hex(8)}.link")
        try:
            new.symlink_to(self.image.name)
            new.replace(self.link)
        except OSError as error:
            with contextlib.suppress(OSError):  # read-only: there is none
                new.unlink()
            raise ImageError(f"{self.link}: cannot be made: {error.strerror}") from error
        sync_directory(self.link.parent)


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an older save, or what is left of one."""

    path: Path

    @property
    def words(self) -> str:
        """What it does, as an order."""
        return f"remove {self.path}"

    def do(self) -> None:
        """Do it, unless somebody is writing it."""
        try:
            if self.path.name.endswith(PARTIAL):
                with partial_file(self.path):
                    self.path.unlink()
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise ImageError(f"{self.path}: cannot be removed: {error.strerror}") from error


def plan(request: ShareRequest) -> list[Step]:
    """Return what is to be done, in order; raises ImageError for what cannot be."""
    if not request.repository.is_dir():
        raise ImageError(f"{request.repository}: no such directory; see images_dir in [frisbee]")
    source = find_image(request.image, request.repository).resolve()
    target = _target(source, request)
    steps: list[Step] = []
    if source != target:
        image = OpenImage(source)
        steps += [Check(image), Move(image, target, request.replaces)]
        steps += [Alias(link, target) for link in _links_to(source, target)]
    for alias in request.aliases:
        steps.append(Alias(_alias(alias, target, request.repository), target))
    if request.cleans:
        steps += [Remove(path) for path in _leftovers(source, target)]
    return steps


def _links_to(source: Path, target: Path) -> list[Path]:
    """Return the aliases of an image that gets another name within the repository."""
    if source.parent != target.parent:
        return []
    links = sorted(path for path in target.parent.iterdir() if path.is_symlink())
    # `Path.resolve` raises for a link that leads to itself.
    return [link for link in links if link != target and os.path.realpath(link) == str(source)]


def received(name: str, repository: Path) -> list[Step]:
    """Return what gives an image its name that has arrived in the repository under a partial one.

    Raises ImageError.
    """
    target = repository / _file(name)
    partial = partial_path(target)
    if not partial.is_file():
        raise ImageError(f"{partial}: has not arrived")
    image = OpenImage(partial)
    return [Check(image), Move(image, target, replaces=False)]


def _file(name: str) -> str:
    file = name if name.endswith(SUFFIX) else name + SUFFIX
    if not is_name(file):
        raise ImageError(
            f"{name!r} is no name for an image: use letters, digits and @%+,.-_ (255 bytes at most)"
        )
    return file


def _target(source: Path, request: ShareRequest) -> Path:
    here = request.repository.resolve()
    if request.name is None and source.parent == here:
        return source
    target = here / _file(request.name or _name_in(source))
    if source != target and os.path.lexists(target) and not request.replaces:
        raise ImageError(f"{target}: exists already; choose a name with -o, or replace it with -f")
    return target


def _name_in(source: Path) -> str:
    match = _SAVE.fullmatch(source.name)
    return match["name"] if match and match["name"] else source.name


def _alias(alias: str, target: Path, repository: Path) -> Path:
    link = repository.resolve() / _file(alias)
    if link == target:
        raise ImageError(f"{link}: is the image itself, and cannot be an alias of it")
    if os.path.lexists(link) and not link.is_symlink():
        raise ImageError(f"{link}: is an image, and cannot become an alias")
    return link


def _leftovers(source: Path, target: Path) -> Iterator[Path]:
    """Yield what cut saves of these names have left, and older saves of the same kind."""
    for partial in {partial_path(source), partial_path(target)}:
        if partial.is_file():
            yield partial
    match = _SAVE.fullmatch(source.name)
    if match is None:
        return
    for path in sorted(source.parent.iterdir()):
        other = _SAVE.fullmatch(path.name)
        if (
            other
            and path.is_file()
            and (other["node"], other["name"]) == (match["node"], match["name"])
            and other["date"] < match["date"]
        ):
            yield path
