"""A file of our own, in a directory where others may have laid something under its name."""

import contextlib
import os
from pathlib import Path

from rhubarbe.shared.directory import Distrust, require_file

_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_own(path: Path, flags: int, mode: int) -> int:
    """Open a regular file that is ours and has no other name, made where there is none.

    Never through a link, never waiting for a pipe, and never what belongs to another: raises
    OSError.
    """
    for _ in range(2):
        try:
            descriptor = os.open(path, flags | _SAFELY)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                return os.open(path, flags | _SAFELY | os.O_CREAT | os.O_EXCL, mode)
            continue
        try:
            require_file(descriptor, path, os.getuid())
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    raise Distrust(f"{path}: somebody makes and removes it")
