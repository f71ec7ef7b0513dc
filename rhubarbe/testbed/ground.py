"""The directory of a testbed: nobody else's, and of one testbed at a time."""

import fcntl
import grp
import os
import pwd
import stat
from pathlib import Path

from rhubarbe.testbed.errors import NoRoom

MARK = "testbed.log"


def occupy(directory: Path) -> int:
    """Make a directory ours, and return its diary, open and locked; raises NoRoom, or OSError.

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
    status = directory.stat()
    if status.st_uid not in {0, os.geteuid()}:
        raise NoRoom(f"{directory} belongs to another user: name another")
    if status.st_mode & stat.S_IWOTH or (
        status.st_mode & stat.S_IWGRP
        and not (_is_private(status.st_gid) and not _has_list(directory))
    ):
        raise NoRoom(f"{directory}: others may write there: name another")


def _is_private(gid: int) -> bool:
    """Whether a group is that of our user, is called so, and has nobody else in it."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    is_own = user.pw_gid == gid and user.pw_name == group.gr_name
    return is_own and set(group.gr_mem) <= {user.pw_name}


def _has_list(directory: Path) -> bool:
    """Whether an access control list may name more who could write."""
    try:
        return any(name.startswith("system.") for name in os.listxattr(directory))
    except OSError:
        return False
