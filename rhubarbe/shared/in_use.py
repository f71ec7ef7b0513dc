"""Whether anybody has a file open: it is not to be removed from under them.

Our own commands say so by a lock, which all can see. What others have open, from a server that was
started by hand to a copy, the kernel tells the owner of the file, and root: it gives a lease for
writing only where no other descriptor of the file is open.
"""

import contextlib
import errno
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.shared.trust import Distrust, name_of

MOST_NAMED = 3
_PID = 4
_PLACE = 5


class InUse(Distrust):
    """Somebody has it open."""


def say_in_use(descriptor: int) -> None:
    """Say that an open file is in use, as long as it is open, also by children that inherit it."""
    with contextlib.suppress(OSError):  # a file system without locks, or it is just being removed
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


@contextlib.contextmanager
def alone(descriptor: int, path: str) -> Iterator[None]:
    """Have an open file for ourselves for a moment; raises InUse where somebody else has it open.

    Who is not its owner only knows of those who say so.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _in_use(descriptor, path) from error
    except OSError:  # no locks there
        pass
    is_leased = _lease(descriptor, path)
    try:
        yield
    finally:
        if is_leased:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _lease(descriptor: int, path: str) -> bool:
    try:
        # Who opens it meanwhile waits for us, of which a signal tells: one that is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EBUSY}:
            raise _in_use(descriptor, path) from error
        return False
    return True


def _in_use(descriptor: int, path: str) -> InUse:
    users = sorted(set(_users_of(os.fstat(descriptor))))
    shown = ", ".join(users[:MOST_NAMED]) or "somebody"
    more = f" and {len(users) - MOST_NAMED} more" if len(users) > MOST_NAMED else ""
    return InUse(f"{path}: is in use by {shown}{more}")


def _users_of(file: os.stat_result) -> Iterator[str]:
    """Yield who has a file open or locked, of those that we can see."""
    for pid in {*_lockers(file), *_openers(file)} - {os.getpid()}:
        with contextlib.suppress(OSError):
            process = Path("/proc", str(pid))
            program = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            yield f"{name_of(process.stat().st_uid)}'s {program} (pid {pid})"


def _lockers(file: os.stat_result) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines():
            words = line.split()
            if len(words) > _PLACE and words[_PLACE].rpartition(":")[2] == str(file.st_ino):
                with contextlib.suppress(ValueError):
                    yield int(words[_PID])


def _openers(file: os.stat_result) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.path.samestat(descriptor.stat(), file):
                        yield int(process.name)
