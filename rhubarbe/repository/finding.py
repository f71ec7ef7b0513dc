"""Finding an image by what a user calls it."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from rhubarbe.concurrency.time_limit import within
from rhubarbe.errors import ImageError, why
from rhubarbe.repository.listing import list_images
from rhubarbe.repository.naming import PARTIAL, SUFFIX, saving
from rhubarbe.shared.directory import Directory, StrPath
from rhubarbe.shared.own import find_file
from rhubarbe.shared.trust import Distrust, name_of

NEAR = 5
FOUND_WITHIN_S = 10.0


def find_image(wanted: str, repository: StrPath, *, here: bool = True) -> Path:
    """Return the file that `-i WANTED` means; raises ImageError, which lists the near names.

    A name is looked for `here` first, unless not: in the current directory others may have laid
    one, as `stranger_of` tells. Where it is not, a path is one from the repository on. Where no
    image has the name, it is the radical of saves, and the newest is meant.
    """
    if wanted.endswith(PARTIAL):
        raise ImageError(f"{wanted}: a partial image, cut short while it was made: not loaded")
    for candidate in _candidates(wanted, repository, here=here):
        if _is_file(candidate):
            return Path(candidate).absolute()
    for candidate in _candidates(wanted, repository, here=here):
        if _is_file(partial := candidate + PARTIAL):
            raise ImageError(f"{wanted}: there is only {partial}, cut short while it was made")
    if here:
        if (saving := _newest_saving(wanted, repository)) is not None:
            return saving
        hint = _hint(wanted, ".", repository)
        raise ImageError(f"{wanted}: no such image, neither here nor in {repository}; {hint}")
    raise ImageError(
        f"{wanted}: no such image in {repository}; {_hint(wanted, repository)}{_also(wanted)}"
    )


def _newest_saving(radical: str, repository: StrPath) -> Path | None:
    """Return the newest `saving__NODE__DATE__RADICAL.ndz`, here or in the repository.

    A path to a radical is looked for in that directory only.
    """
    place, radical = os.path.split(radical.removesuffix(SUFFIX))
    found: list[tuple[str, float, Path]] = []
    for directory in [place] if place else [".", repository]:
        for image in list_images(directory):
            match = saving(image.path.name)
            if match and match["radical"] == radical:
                found.append((match["date"], image.modified, image.path))
    return max(found)[-1].absolute() if found else None


def _also(wanted: str) -> str:
    """Say that there is one in the current directory, where it was not looked for."""
    for candidate in _candidates(wanted, ".", here=False):
        with contextlib.suppress(ImageError):
            if _is_file(candidate):
                return f"; -i {candidate} is the one in this directory"
    return ""


def _is_file(path: str) -> bool:
    return _real(path) is not None


def _real(path: str) -> str | None:
    try:
        return within(FOUND_WITHIN_S, _looked_up, path)
    except Distrust as error:
        raise ImageError(str(error)) from error
    except TimeoutError as error:
        raise ImageError(f"{path}: {error}") from error


def _looked_up(path: str) -> str | None:
    found = find_file(path, aliases=True)
    if found is None:
        return None
    directory, name = found
    with directory:
        return directory.where(name)


def real_path(path: StrPath) -> str:
    """Return the path of the file that an image's path leads to; raises ImageError."""
    real = _real(os.fspath(path))
    if real is None:
        raise ImageError(f"{path}: is there no more")
    return real


def _hint(wanted: str, *directories: StrPath) -> str:
    names = _names_in(*directories)
    near = near_names(wanted, names)
    return f"near names: {', '.join(near)}" if near else f"known: {_some(names)}"


def near_names(wanted: str, names: Iterable[str]) -> list[str]:
    """Return those of the names of images that somebody may have meant, the nearest first."""
    import difflib  # most commands find what they are asked for

    wanted = os.path.basename(wanted.rstrip("/")).removesuffix(SUFFIX)
    return difflib.get_close_matches(wanted, list(names), n=NEAR)


def stranger_of(wanted: str, found: Path) -> str | None:
    """Return who it is, neither us nor root, that laid what a name found in this directory.

    None for what was named by a path, and for what is elsewhere.
    """
    if "/" in wanted:
        return None
    try:
        owners = _owners(found) - {0, os.getuid()}
    except OSError as error:
        raise ImageError(f"{found}: {why(error)}") from error
    return name_of(owners.pop()) if owners else None


def _owners(found: Path) -> set[int]:
    """Return who owns the image, and the link to it; nobody where that is not in this directory."""
    owners: set[int] = set()
    with Directory.open(".") as here:
        for follows in (False, True):
            directory, name = Directory.of(found, follows=follows, aliases=True)
            with directory:
                if not follows and not os.path.samestat(directory.status, here.status):
                    break
                owners.add(directory.status_of(name).st_uid)
    return owners


def _candidates(wanted: str, repository: StrPath, *, here: bool) -> Iterator[str]:
    names = [wanted] if wanted.endswith(SUFFIX) else [wanted, wanted + SUFFIX]
    if "/" in wanted:
        directories: list[StrPath] = ["" if here else repository]
    else:
        directories = ["", repository] if here else [repository]
    for directory in directories:
        for name in names:
            yield os.path.join(directory, name)


def known_names(repository: StrPath) -> list[str]:
    """Return the names of the images here and in the repository, and their aliases, sorted."""
    return _names_in(".", repository)


def _names_in(*directories: StrPath) -> list[str]:
    found: set[str] = set()
    for directory in directories:
        for image in list_images(directory):
            found |= {image.name, *image.aliases}
    return sorted(found)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[: 2 * NEAR]) or "none"
    return shown + (f" and {len(names) - 2 * NEAR} more" if len(names) > 2 * NEAR else "")
