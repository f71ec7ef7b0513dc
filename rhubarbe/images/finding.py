"""Finding an image by what a user calls it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rhubarbe.errors import ImageError
from rhubarbe.images.listing import list_images
from rhubarbe.images.naming import PARTIAL, SUFFIX

NEAR = 5


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
    raise ImageError(
        f"{wanted}: no such image, neither here nor in {repository}; {_hint(wanted, repository)}"
    )


def _hint(wanted: str, repository: Path) -> str:
    names = known_names(repository)
    near = near_names(wanted, names)
    return f"near names: {', '.join(near)}" if near else f"known: {_some(names)}"


def near_names(wanted: str, names: Iterable[str]) -> list[str]:
    """Return those of the names of images that somebody may have meant, the nearest first."""
    import difflib  # most commands find what they are asked for

    wanted = Path(wanted).name.removesuffix(SUFFIX)
    return difflib.get_close_matches(wanted, list(names), n=NEAR)


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


def known_names(repository: Path) -> list[str]:
    """Return the names of the images here and in the repository, and their aliases, sorted."""
    found: set[str] = set()
    for directory in (Path(), repository):
        for image in list_images(directory):
            found |= {image.name, *image.aliases}
    return sorted(found)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[: 2 * NEAR]) or "none"
    return shown + (f" and {len(names) - 2 * NEAR} more" if len(names) > 2 * NEAR else "")
