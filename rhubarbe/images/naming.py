"""How images are named; an image is partial until it is whole, and published when it is."""

from __future__ import annotations

import os
import re

from rhubarbe import TYPE_CHECKING
from rhubarbe.errors import ImageError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

SUFFIX = ".ndz"
PARTIAL = ".partial"
LONGEST = 255  # bytes, on any filesystem of Linux


def is_name(file: str) -> bool:
    """Whether an image may be called so: a file name, with its suffix, without surprises."""
    fits = len(os.fsencode(file + PARTIAL)) <= LONGEST
    has_name = bool(file.removesuffix(SUFFIX).strip(". "))
    return has_name and bool(re.fullmatch(r"[\w@%+,.-][\w@%+,. -]*", file)) and fits


def new_image_path(name: str | None, node: str, now: datetime) -> Path:
    """Return where a save goes: `NAME.ndz`, or a name made of node and date.

    Raises ImageError for a name that is no file name, and for one that is taken.
    """
    from pathlib import Path  # those who list images need not wait for this

    if name is None:
        name = f"saving__{node}__{now:%Y-%m-%d@%H-%M-%S}"
    path = Path(name if name.endswith(SUFFIX) else name + SUFFIX)
    if not is_name(path.name):
        raise ImageError(
            f"{name!r} is no name for an image: use letters, digits and @%+,.-_ (255 bytes at most)"
        )
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
    sync_directory(final.parent)


def withdraw(partial: Path, final: Path) -> None:
    """Undo a `publish`: the image has its partial name again. Raises ImageError."""
    _rename(final, partial)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(partial: Path, final: Path) -> None:
    try:
        partial.rename(final)
    except OSError as error:
        raise ImageError(f"{partial}: cannot be renamed to {final}: {error.strerror}") from error
