"""Share: move an image into the repository, whole or not at all, and give it other names.

Nothing is done here before all the steps are known: `plan` returns them, each with its words.
"""

import contextlib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.errors import ImageError, why
from rhubarbe.repository import (
    SUFFIX,
    OpenImage,
    find_image,
    is_name,
    is_taken,
    partial_path,
    real_path,
)
from rhubarbe.repository.copying import partial_file
from rhubarbe.repository.listing import aliases_in
from rhubarbe.repository.naming import saving
from rhubarbe.repository.steps import Alias, Check, Move, Remove, Step, link_at
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import find_file
from rhubarbe.shared.trust import Distrust


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRequest:
    """Which image to share, as whom; `aliases` are names of links to it."""

    image: str
    repository: Path
    name: str | None = None
    aliases: Sequence[str] = ()
    replaces: bool = False
    cleans: bool = False


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


@contextlib.contextmanager
def _looked_into(path: Path) -> Iterator[Directory]:
    """Open a directory; raises ImageError, also for what cannot be read in it."""
    try:
        with Directory.open(path, follows=True) as directory:
            yield directory
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


def receive(name: str, repository: Path) -> None:
    """Have a partial image of ours ready, where rsync will write by its name; raises ImageError.

    It must be where nobody else can put another file under that name.
    """
    with partial_file(partial_path(repository / _file(name))) as partial:
        try:
            partial.directory.require_trust()
        except OSError as error:
            raise ImageError(why(error)) from error


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
    match = saving(source.name)
    return match["radical"] if match and match["radical"] else source.name


def _alias(alias: str, target: Path, here: Path) -> Path:
    link = here / _file(alias)
    if link == target:
        raise ImageError(f"{link}: is the image itself, and cannot be an alias of it")
    if is_taken(link) and link_at(link) is None:
        raise ImageError(f"{link}: is an image, and cannot become an alias")
    return link


def _leftovers(source: Path, target: Path) -> Iterator[Path]:
    """Yield what cut saves of these names have left, and older saves of the same kind and owner."""
    for partial in {partial_path(source), partial_path(target)}:
        with _looked_into(partial.parent) as directory:
            if directory.is_file(partial.name):
                yield partial
    match = saving(source.name)
    if match is None:
        return
    with _looked_into(source.parent) as directory:
        for name in directory.names():
            other = saving(name)
            if (
                other
                and (other["node"], other["radical"]) == (match["node"], match["radical"])
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
