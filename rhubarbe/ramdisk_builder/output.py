"""Files that are written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# A file server that runs as another user reads them, whatever the umask of who makes them.
MODE, DIRECTORY_MODE = 0o644, 0o755


def _make_directories(path: Path) -> None:
    """Make a directory, and those above it, for all to enter; those that are there stay as is."""
    if path.is_dir():
        return
    _make_directories(path.parent)
    path.mkdir(exist_ok=True)
    path.chmod(DIRECTORY_MODE)


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Make an empty file beside a path; it gets that name when all went well. Raises OSError."""
    _make_directories(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        yield Path(name)
        os.fchmod(descriptor, MODE)
        os.fsync(descriptor)
        Path(name).replace(path)
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written; it gets its name when all went well. Raises OSError."""
    with unfinished(path) as beside, beside.open("wb") as file:
        yield file
        file.flush()


def copy(source: Path, path: Path) -> None:
    """Copy a file under another name, whole or not at all; raises OSError."""
    with source.open("rb") as content, replacing(path) as file:
        shutil.copyfileobj(content, file)
