"""The images of a directory."""

from __future__ import annotations

from collections import defaultdict

from rhubarbe import TYPE_CHECKING
from rhubarbe.images.naming import SUFFIX
from rhubarbe.record import Record

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Image(Record):
    """One image of a directory, `modified` in seconds; `aliases` are the names of links to it."""

    path: Path
    size: int
    modified: float
    aliases: tuple[str, ...]

    @property
    def name(self) -> str:
        """The image's name without its suffix."""
        return self.path.name.removesuffix(SUFFIX)


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
            status.st_mtime,
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
