"""An image on its way into a directory: under its partial name, locked, until it is whole there."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.errors import ImageError

STEP = 8 << 20
READABLE = 0o644


@contextlib.contextmanager
def partial_file(partial: Path) -> Iterator[int]:
    """Open what is or will be a partial image, and keep others away from it; raises ImageError.

    What it holds stays as it is.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(partial, flags, READABLE)
    except OSError as error:
        raise ImageError(f"{partial}: cannot be written: {error.strerror}") from error
    try:
        _lock(descriptor, partial)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, partial: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ImageError(f"{partial}: another command is writing it") from error
    status = os.fstat(descriptor)
    if status.st_nlink != 1:
        raise ImageError(f"{partial}: also has another name; remove this one")


def copy_image(source: Path, partial: Path) -> None:
    """Copy an image to a partial name, date included, onto the disk; raises ImageError.

    What is cut short is removed.
    """
    try:
        with partial_file(partial) as descriptor, source.open("rb", buffering=0) as image:
            try:
                _copy(image.fileno(), descriptor)
            except BaseException:  # a signal too leaves no part
                partial.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ImageError(f"{source}: cannot be copied to {partial}: {error.strerror}") from error


def _copy(source: int, target: int) -> None:
    os.ftruncate(target, 0)
    while os.sendfile(target, source, None, STEP):
        pass
    status = os.fstat(source)
    os.fchmod(target, READABLE)  # the repository is everybody's, whatever our umask
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.fsync(target)
