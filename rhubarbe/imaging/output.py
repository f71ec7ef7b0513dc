"""A file that has its final name only once it is complete."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rhubarbe.annexe.errors import NotOurs
from rhubarbe.annexe.places import open_partial
from rhubarbe.imaging.devices import STDOUT, open_target, refuse_no_disk, standard_output
from rhubarbe.imaging.errors import TargetError
from rhubarbe.ndz.header import Buffer

PARTIAL = ".partial"


class Output:
    """Where an image is written, chunk after chunk."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self.size = 0
        self._descriptor = descriptor

    def write(self, data: Buffer) -> None:
        """Write all of it; raise TargetError."""
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._descriptor, view)
            except OSError as error:
                raise TargetError(f"{self.name}: write error: {error.strerror}") from error
            self.size += written
            view = view[written:]


def _open(place: Path, *, is_regular: bool) -> int:
    if is_regular:
        return open_partial(str(place))
    if place.is_block_device():
        return open_target(str(place), creates=False)
    return os.open(place, os.O_WRONLY | os.O_CLOEXEC)


@contextmanager
def open_output(path: str, *, syncs: bool = True) -> Iterator[Output]:
    """Open an output, `-` being the standard one; a regular file gets its name at the end only.

    Until then it is called PATH.partial, and it is removed where the block is left by an
    exception. Raises TargetError.
    """
    if path in STDOUT:
        yield Output(standard_output(), "standard output")
        return
    refuse_no_disk(path)
    place = Path(path)
    is_regular = not place.exists() or stat.S_ISREG(place.stat().st_mode)
    working = place.with_name(place.name + PARTIAL) if is_regular else place
    try:
        descriptor = _open(working, is_regular=is_regular)
    except NotOurs as error:
        raise TargetError(str(error)) from error
    except OSError as error:
        raise TargetError(f"{path}: opening output file: {error.strerror}") from error
    try:
        yield Output(descriptor, path)
        if syncs and is_regular:
            os.fsync(descriptor)
        if is_regular:
            working.replace(place)
    except BaseException:  # a signal too leaves no part
        if is_regular:
            working.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
