"""Where images live, how they are named and found; an image is partial until it is complete.

Images are `NAME.ndz`. `-i NAME` is a path, or a name looked for in the current directory, then in
the repository, with or without `.ndz`. A name that ends in `.partial` is an image in the making,
or what is left of one: never taken for an image.
"""

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rhubarbe.errors import ImageError
from rhubarbe.ndz.check import ImageSummary, check_file
from rhubarbe.ndz.errors import NdzError

SUFFIX = ".ndz"
PARTIAL = ".partial"
NEAR = 5


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a directory; `aliases` are the names of links to it."""

    path: Path
    size: int
    modified: datetime
    aliases: tuple[str, ...]

    @property
    def name(self) -> str:
        """The image's name without its suffix."""
        return self.path.name.removesuffix(SUFFIX)


def find_image(wanted: str, repository: Path) -> Path:
    """Return the file that `-i WANTED` means; raises ImageError, which lists the near names."""
    if wanted.endswith(PARTIAL):
        raise ImageError(f"{wanted}: a partial image, cut short while it was made: not loaded")
    for candidate in _candidates(wanted, repository):
        if _is_file(candidate):
            return candidate.absolute()
    for candidate in _candidates(wanted, repository):
        if _is_file(partial := Path(f"{candidate}{PARTIAL}")):
            raise ImageError(f"{wanted}: there is only {partial}, cut short while it was made")
    names = _known_names(repository)
    near = difflib.get_close_matches(wanted.removesuffix(SUFFIX), names, n=NEAR)
    hint = f"near names: {', '.join(near)}" if near else f"known: {_some(names)}"
    raise ImageError(f"{wanted}: no such image, neither here nor in {repository}; {hint}")


def _is_file(path: Path) -> bool:
    # Path.is_file raises where a directory may not be entered, or a name is too long.
    try:
        return path.is_file()
    except OSError:
        return False


def _candidates(wanted: str, repository: Path) -> Iterator[Path]:
    names = [wanted] if wanted.endswith(SUFFIX) else [wanted, wanted + SUFFIX]
    directories = [Path()] if "/" in wanted else [Path(), repository]
    for directory in directories:
        for name in names:
            yield directory / name


def _known_names(repository: Path) -> list[str]:
    found: set[str] = set()
    for directory in (Path(), repository):
        for image in list_images(directory):
            found |= {image.name, *image.aliases}
    return sorted(found)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[: 2 * NEAR]) or "none"
    return shown + (f" and {len(names) - 2 * NEAR} more" if len(names) > 2 * NEAR else "")


def check_image(path: Path) -> ImageSummary:
    """Read and check a whole image; raises ImageError naming the chunk that is missing or bad.

    Takes its time and all cores: to be called in a thread.
    """
    try:
        return check_file(path)
    except (NdzError, OSError) as error:
        text = str(error)
        raise ImageError(
            text if text.startswith(str(path)) else f"{path}: damaged image: {text}"
        ) from error


def list_images(directory: Path) -> list[Image]:
    """Return the images of a directory by name; links count as aliases, dangling ones as nothing.

    A directory that does not exist or cannot be read has none.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIX))
    except OSError:
        return []
    aliases: dict[Path, list[str]] = defaultdict(list)
    files: dict[Path, os.stat_result] = {}
    for path, status in _readable(paths):
        if path.is_symlink():
            aliases[path.resolve()].append(path.name.removesuffix(SUFFIX))
        else:
            files[path] = status
    return [
        Image(
            path,
            status.st_size,
            datetime.fromtimestamp(status.st_mtime, tz=UTC).astimezone(),
            tuple(aliases.get(path.resolve(), ())),
        )
        for path, status in files.items()
    ]


def _readable(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        yield path, status


def new_image_path(name: str | None, node: str, now: datetime) -> Path:
    """Return where a save goes: `NAME.ndz`, or a name made of node and date.

    Raises ImageError for a name that is no file name, and for one that is taken.
    """
    if name is None:
        name = f"saving__{node}__{now:%Y-%m-%d@%H-%M-%S}"
    path = Path(name if name.endswith(SUFFIX) else name + SUFFIX)
    if not re.fullmatch(r"[\w@%+,.-][\w@%+,. -]*", path.name) or path.name == SUFFIX:
        raise ImageError(f"{name!r} is no name for an image: use letters, digits and @%+,.-_")
    if not path.parent.is_dir():
        raise ImageError(f"{path.parent}: no such directory to save the image in")
    if os.path.lexists(path):
        raise ImageError(f"{path}: exists already, and is never overwritten; choose another name")
    return path.absolute()


def partial_path(path: Path) -> Path:
    """Return the name that an image has until it is complete."""
    return path.with_name(path.name + PARTIAL)


def publish(partial: Path, final: Path) -> None:
    """Give a complete image, already synced, its final name; never overwrites: raises ImageError.

    Where the file system has no hard links, a plain rename after a look has to do.
    """
    try:
        os.link(partial, final)
        partial.unlink()
    except FileExistsError as error:
        raise ImageError(f"{final}: exists already; the new image is in {partial}") from error
    except OSError as error:
        if os.path.lexists(final):
            raise ImageError(f"{final}: exists already; the new image is in {partial}") from error
        _rename(partial, final)
    directory = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _rename(partial: Path, final: Path) -> None:
    try:
        partial.rename(final)
    except OSError as error:
        raise ImageError(f"{partial}: cannot be renamed to {final}: {error.strerror}") from error
