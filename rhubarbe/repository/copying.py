"""An image on its way into a directory: under its partial name, locked, until it is whole there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.errors import ImageError, why
from rhubarbe.shared.partial import Partial
from rhubarbe.shared.trust import Distrust

STEP = 8 << 20


@contextlib.contextmanager
def partial_file(partial: Path) -> Iterator[Partial]:
    """Open what is or will be a partial image, and keep others away from it; raises ImageError.

    It must be ours. What it holds stays as it is, for nobody else to read until it is whole.
    """
    try:
        opened = Partial.open(partial)
    except Distrust as error:
        raise ImageError(str(error)) from error
    except OSError as error:
        raise ImageError(f"{partial}: cannot be written: {why(error)}") from error
    with opened:
        yield opened


@contextlib.contextmanager
def copied(source: int, partial: Path) -> Iterator[Partial]:
    """Copy an open image to a partial name, and hold that open, for the length of the context.

    The partial name is gone in the end, and with it what is cut short or no image. Nobody else can
    read the copy before it is published. Raises ImageError.
    """
    with partial_file(partial) as copy:
        try:
            _copy(source, copy.descriptor)
            yield copy
        except OSError as error:
            raise ImageError(f"{partial}: the copy cannot be made: {why(error)}") from error
        finally:  # interrupted too, no part is left behind
            with contextlib.suppress(OSError):
                copy.forget()


def _copy(source: int, target: int) -> None:
    os.ftruncate(target, 0)
    place = 0
    while count := os.sendfile(target, source, place, STEP):
        place += count
    status = os.fstat(source)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
