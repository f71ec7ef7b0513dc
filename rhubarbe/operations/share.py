"""Share: move an image into the repository, whole or not at all, and give it other names.

Nothing is done here before all the steps are known: `plan` returns them, each with its words.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rhubarbe.errors import ImageError, why
from rhubarbe.images import (
    PARTIAL,
    SUFFIX,
    OpenImage,
    check_image,
    find_image,
    is_name,
    is_taken,
    partial_path,
    real_path,
)
from rhubarbe.images.copying import copied, partial_file
from rhubarbe.images.listing import aliases_in
from rhubarbe.shared.directory import READABLE, Directory
from rhubarbe.shared.own import find_file
from rhubarbe.shared.placing import place
from rhubarbe.shared.trust import OTHERS, Distrust

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
        verb = "replace" if self.replaces and is_taken(self.target) else "make"
        return f"{verb} {self.target} from {self.image.path}"

    def do(self) -> None:
        """Do it, by a new name where that is possible, else by a copy that is checked as well."""
        image = self.image
        try:
            if self._is_ours_here():
                self._name()
            else:
                self._copy()
            image.forget()
        except FileExistsError as error:
            raise ImageError(f"{self.target}: exists already") from error
        except OSError as error:
            raise ImageError(
                f"{image.path}: not wholly moved to {self.target}: {why(error)}"
            ) from error
        finally:
            image.close()

    def _name(self) -> None:
        image = self.image
        os.fchmod(image.descriptor, READABLE)  # the repository is everybody's, whatever our umask
        with Directory.open(self.target.parent, follows=True) as directory:
            name = self.target.name
            place(image.descriptor, image.place, directory, name, replaces=self.replaces)

    def _copy(self) -> None:
        partial = partial_path(self.target)
        with copied(self.image.descriptor, partial) as copy:
            check_image(partial, file=copy.file)
            try:
                copy.publish(self.target.name, READABLE, replaces=self.replaces)
            except FileExistsError as error:
                raise ImageError(f"{self.target}: exists already") from error

    def _is_ours_here(self) -> bool:
        """Whether another name does: who else may write the file could change it."""
        status = self.image.status
        with Directory.open(self.target.parent, follows=True) as directory:
            is_here = status.st_dev == directory.status.st_dev
        is_ours = status.st_uid == os.geteuid() and not status.st_mode & OTHERS
        return is_here and is_ours and status.st_nlink == 1


@dataclass(frozen=True, slots=True)
class Alias:
    """Make a link to an image, in place of a link of that name."""

    link: Path
    image: Path

    @property
    def words(self) -> str:
        """What it does, as an order."""
        former = _link_at(self.link)
        before = f" (not {former})" if former is not None else ""
        return f"let {self.link} be {self.image.name}{before}"

    def do(self) -> None:
        """Do it at one stroke."""
        name = self.link.name
        try:
            with Directory.open(self.link.parent, follows=True) as directory:
                if directory.is_file(name):
                    raise ImageError(f"{self.link}: is an image, and cannot become an alias")
                directory.set_link(name, self.image.name)
                directory.sync()
        except OSError as error:
            raise ImageError(f"{self.link}: cannot be made: {why(error)}") from error


def _link_at(path: Path) -> str | None:
    """Return where a link leads; None for what is no link, or not there."""
    try:
        with Directory.open(path.parent, follows=True) as directory:
            return directory.link_at(path.name)
    except OSError:
        return None


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
                with partial_file(self.path) as partial:
                    partial.forget()
            else:
                with Directory.open(self.path.parent, follows=True) as directory:
                    directory.unlink(self.path.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ImageError(f"{self.path}: cannot be removed: {why(error)}") from error


def plan(request: ShareRequest) -> list[Step]:
    """Return what is to be done, in order; raises ImageError for what cannot be."""
    here = _real(request.repository)
    source = Path(real_path(find_image(request.image, request.repository)))
    target = _target(source, here, request)
    steps: list[Step] = []
    if source != target:
        image = OpenImage(source, follows=False)
        steps += [Check(image), Move(image, target, request.replaces)]
        steps += [Alias(link, target) for link in _links_to(source, target)]
    for alias in request.aliases:
        steps.append(Alias(_alias(alias, target, here), target))
    if request.cleans:
        steps += [Remove(path) for path in _leftovers(source, target)]
    return steps


def _links_to(source: Path, target: Path) -> list[Path]:
    """Return the aliases of an image that gets another name within the repository."""
    if source.parent != target.parent:
        return []
    with _looked_into(target.parent) as directory:
        links = [name for name in directory.names() if _is_link(directory, name)]
        found = aliases_in(directory, links).get(source.name, [])
    return [target.with_name(link) for link in found if link != target.name]


def _is_link(directory: Directory, name: str) -> bool:
    try:
        return stat.S_ISLNK(directory.status_of(name).st_mode)
    except OSError:
        return False


def _looked_into(path: Path) -> Directory:
    """Open a directory; raises ImageError."""
    try:
        return Directory.open(path, follows=True)
    except Distrust as error:
        raise ImageError(str(error)) from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be looked into: {why(error)}") from error


def _real(repository: Path) -> Path:
    """Return where the repository is; raises ImageError."""
    try:
        with Directory.open(repository, follows=True) as directory:
            return Path(directory.path)
    except Distrust as error:
        raise ImageError(str(error)) from error
    except OSError as error:
        raise ImageError(f"{repository}: no such directory; see images_dir in [frisbee]") from error


def received(name: str, repository: Path) -> list[Step]:
    """Return what gives an image its name that has arrived in the repository under a partial one.

    Raises ImageError.
    """
    target = repository / _file(name)
    partial = partial_path(target)
    if (found := find_file(partial, follows=False)) is None:
        raise ImageError(f"{partial}: has not arrived")
    found[0].close()
    image = OpenImage(partial, follows=False)
    return [Check(image), Move(image, target, replaces=False)]


def _file(name: str) -> str:
    file = name if name.endswith(SUFFIX) else name + SUFFIX
    if not is_name(file):
        raise ImageError(
            f"{name!r} is no name for an image: use letters, digits and @%+,.-_ (255 bytes at most)"
        )
    return file


def _target(source: Path, here: Path, request: ShareRequest) -> Path:
    if request.name is None and source.parent == here:
        return source
    target = here / _file(request.name or _name_in(source))
    if source != target and is_taken(target) and not request.replaces:
        raise ImageError(f"{target}: exists already; choose a name with -o, or replace it with -f")
    return target


def _name_in(source: Path) -> str:
    match = _SAVE.fullmatch(source.name)
    return match["name"] if match and match["name"] else source.name


def _alias(alias: str, target: Path, here: Path) -> Path:
    link = here / _file(alias)
    if link == target:
        raise ImageError(f"{link}: is the image itself, and cannot be an alias of it")
    if is_taken(link) and _link_at(link) is None:
        raise ImageError(f"{link}: is an image, and cannot become an alias")
    return link


def _leftovers(source: Path, target: Path) -> Iterator[Path]:
    """Yield what cut saves of these names have left, and older saves of the same kind and owner."""
    for partial in {partial_path(source), partial_path(target)}:
        with _looked_into(partial.parent) as directory:
            if directory.is_file(partial.name):
                yield partial
    match = _SAVE.fullmatch(source.name)
    if match is None:
        return
    with _looked_into(source.parent) as directory:
        for name in directory.names():
            other = _SAVE.fullmatch(name)
            if (
                other
                and (other["node"], other["name"]) == (match["node"], match["name"])
                and other["date"] < match["date"]
                and _are_of_one(directory, name, source.name)
            ):
                yield source.with_name(name)


def _are_of_one(directory: Directory, name: str, other: str) -> bool:
    """Whether both are files, of one owner: nobody removes what a third one saved."""
    try:
        owners = directory.status_of(name).st_uid, directory.status_of(other).st_uid
    except OSError:
        return False
    return directory.is_file(name) and owners[0] == owners[1]
