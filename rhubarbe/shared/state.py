"""`state_dir`: what users share from one command to another, in a directory for each of them.

It is root's, 1777, or one user's own. Below it, what user UID keeps is in the directories `UID` and
`UID.HEX` that UID owns, the second where somebody else has taken the first name: so whoever comes
first can keep nobody out, and what is in such a directory can only be UID's.
"""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from rhubarbe.errors import why
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.trust import Distrust, name_of

ENTERED = 0o755
SHARED = 0o1777
_OF_A_USER = re.compile(r"(0|[1-9]\d{0,9})(?:\.[0-9a-f]{16})?")

Tell = Callable[[str], None]


def keep_quiet(_: str) -> None:
    """Tell nobody."""


class StateDirectory:
    """The directory that the configuration names; its methods touch the disk: for a thread."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    @property
    def cure(self) -> str:
        """What an administrator has to do where it cannot be used."""
        return f"as root: mkdir -p {self._path}; chmod 1777 {self._path}"

    def open(self) -> Directory:
        """Open it; raises Distrust where others could remove what is in it, or another OSError."""
        directory = Directory.open(self._path)
        try:
            directory.require_trust()
        except BaseException:  # interrupted too: nobody else closes it
            os.close(directory.descriptor)
            raise
        return directory

    def make(self) -> Directory:
        """Open it, made where it is not there: for all if root does so. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            return self.open()
        missing = [each for each in reversed(self._path.parents) if not each.is_dir()]
        for path in (*missing, self._path):
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                with Directory.open(path) as directory:
                    is_for_all = path == self._path and os.getuid() == 0
                    os.fchmod(directory.descriptor, SHARED if is_for_all else ENTERED)
        return self.open()

    def key(self) -> str:
        """Return what tells it from any other on this machine; raises OSError."""
        with self.make() as directory:
            status = directory.status
            return f"{status.st_dev:x}.{status.st_ino:x}"

    @contextlib.contextmanager
    def place_of(self, uid: int) -> Iterator[Directory]:
        """Open the directory of a user, made where there is none; raises OSError.

        Only root can make it for another.
        """
        with self.make() as state:
            place = _find(state, uid) or _make(state, str(uid), uid)
            place = place or _make(state, f"{uid}.{secrets.token_hex(8)}", uid)
            if place is None:
                raise Distrust(f"{self._path}: no directory of {name_of(uid)} can be made there")
            with place:
                yield place

    def places(self, tell: Tell) -> Iterator[tuple[Directory, int]]:
        """Yield the directories of all users that can be opened, each with its owner.

        None where there is no state yet; `tell` is told of those that cannot. Raises OSError.
        """
        with contextlib.suppress(FileNotFoundError), self.open() as state:
            seen: set[int] = set()
            for name in state.names():
                uid = user_in(name)
                if uid is None or uid in seen or not _is_directory_of(state, name, uid):
                    continue
                seen.add(uid)
                try:
                    place = Directory.open(name, state)
                except OSError as error:
                    tell(f"{state.where(name)}: cannot be looked into: {why(error)}")
                    continue
                with place:
                    if place.status.st_uid == uid:  # also now that it is open
                        yield place, uid


def user_in(name: str) -> int | None:
    """Return whose directory should have this name; None where it is the name of none."""
    match = _OF_A_USER.fullmatch(name)
    return int(match[1]) if match else None


def _find(state: Directory, uid: int) -> Directory | None:
    """Open the directory that a user has already; None where there is none."""
    usual = str(uid)
    others = () if _is_directory_of(state, usual, uid) else state.names()
    for name in (usual, *others):
        if user_in(name) == uid and _is_directory_of(state, name, uid):
            place = Directory.open(name, state)
            if place.status.st_uid == uid:
                return place
            os.close(place.descriptor)
    return None


def _make(state: Directory, name: str, uid: int) -> Directory | None:
    """Make the directory of a user by this name; None where somebody else has the name."""
    try:
        os.mkdir(name, 0o700, dir_fd=state.descriptor)
    except FileExistsError:
        # It is ours if another command of ours made it just now.
        return _find(state, uid)
    place = Directory.open(name, state)
    try:
        if uid != os.getuid():
            os.fchown(place.descriptor, uid, -1)
        os.fchmod(place.descriptor, ENTERED)
    except BaseException:  # interrupted too: nobody else closes it
        os.close(place.descriptor)
        raise
    return place


def _is_directory_of(state: Directory, name: str, uid: int) -> bool:
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=state.descriptor, follow_symlinks=False)
        return status.st_uid == uid and stat.S_ISDIR(status.st_mode)
    return False
