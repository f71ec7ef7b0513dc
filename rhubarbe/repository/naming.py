"""How images are named; an image is partial until it is whole, and has its name when it is."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.errors import ImageError
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.trust import Distrust

if TYPE_CHECKING:
    from datetime import datetime  # it takes its time to import

SUFFIX = ".ndz"
PARTIAL = ".partial"
LONGEST = 255  # bytes, on any filesystem of Linux
# What a save is called by itself: node, date, and a radical that users of other versions choose.
_SAVING = (
    r"saving__(?P<node>.+?)__(?P<date>\d{4}-\d\d-\d\d@\d\d-\d\d(-\d\d)?)(__(?P<radical>.+))?"
    r"\.ndz(\.partial)?"
)


def saving(file: str) -> re.Match[str] | None:
    """Return what the name of a save tells (node, date, radical); None where it is none's."""
    return re.fullmatch(_SAVING, file)


def is_name(file: str) -> bool:
    """Whether an image may be called so: a file name, with its suffix, without surprises."""
    try:
        fits = len(os.fsencode(file + PARTIAL)) <= LONGEST
    except UnicodeEncodeError:  # half of a letter, as JSON can have it: no file has such a name
        return False
    has_name = bool(file.removesuffix(SUFFIX).strip(". "))
    return has_name and bool(re.fullmatch(r"[\w@%+,.-][\w@%+,. -]*", file)) and fits


def new_image_path(name: str | None, node: str, now: "datetime") -> Path:
    """Return where a save goes: `NAME.ndz`, or a name made of node and date.

    Raises ImageError for a name that is no file name, and for one that is taken.
    """
    if name is None:
        name = f"saving__{node}__{now:%Y-%m-%d@%H-%M-%S}"
    path = Path(name if name.endswith(SUFFIX) else name + SUFFIX)
    if not is_name(path.name):
        raise ImageError(
            f"{name!r} is no name for an image: use letters, digits and @%+,.-_ (255 bytes at most)"
        )
    if is_taken(path):
        raise ImageError(f"{path}: exists already, and is never overwritten; choose another name")
    return path.absolute()


def is_taken(path: Path) -> bool:
    """Whether anything has this name, be it a link to nothing.

    Raises ImageError where there is no such directory.
    """
    try:
        directory, name = Directory.of(path, follows=False)
    except Distrust as error:
        raise ImageError(str(error)) from error
    except OSError as error:
        raise ImageError(f"{path.parent}: no such directory to save the image in") from error
    with directory:
        return directory.has(name)


def partial_path(path: Path) -> Path:
    """Return the name that an image has until it is complete."""
    return path.with_name(path.name + PARTIAL)
