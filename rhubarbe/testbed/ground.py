"""The directory of a testbed: nobody else's, and of one testbed at a time."""

import fcntl
import os
from pathlib import Path

from rhubarbe.testbed.errors import NoRoom
from rhubarbe.writers import may_others_write

MARK = "testbed.log"


def occupy(directory: Path) -> int:
    """Make a directory ours, and return its log, open and locked; raises NoRoom, or OSError.

    Much in it is removed, emptied and written by fixed names: so nobody else may have laid links
    there.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o755, exist_ok=True)
    _require_ours(directory)
    mark = directory / MARK
    if not mark.exists() and any(directory.iterdir()):
        raise NoRoom(f"{directory} is not empty and not a testbed's: name another")
    if mark.is_symlink():
        raise NoRoom(f"{mark} is a link: name another directory")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    diary = os.open(mark, flags, 0o644)
    try:
        fcntl.flock(diary, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(diary, 0)
    except BaseException as error:
        os.close(diary)
        if isinstance(error, BlockingIOError):
            raise NoRoom(f"another testbed runs in {directory}: name another") from None
        raise
    return diary


def _require_ours(directory: Path) -> None:
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid not in {0, os.geteuid()}:
            raise NoRoom(f"{directory} belongs to another user: name another")
        if may_others_write(descriptor):
            raise NoRoom(f"{directory}: others may write there: name another")
    finally:
        os.close(descriptor)
