"""The leases of this gateway on disk, in SQLite: each user's in a database only they can write.

One database for all would be one that all can write, where anybody could forge and remove. So whose
lease it is, is not what a row says but whose directory below `state_dir` its file is in, and who
owns it; the kernel tells that of the very bytes that are read. A database is replaced as a whole,
never changed in place: readers need no lock, and whoever is killed leaves the old one. What
overlaps is decided under one claim, which goes with its holder.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.concurrency.time_limit import within
from rhubarbe.errors import LeaseError, why
from rhubarbe.leases.lease import LATEST, Lease
from rhubarbe.leases.user import User, user_of
from rhubarbe.shared.claims import ask, make_claim
from rhubarbe.shared.database import in_memory, rows
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.state import StateDirectory, Tell, keep_quiet

NAME = "leases.sqlite"
VERSION = 1
LOCK_WAIT_S = 10.0
LOOK_AGAIN_S = 0.02
READ_WITHIN_S = 8.0
# Reading the database of one user may take so long.
SECONDS = 0.5
# Bytes, far more than anybody's leases; a larger database hides only its owner's leases.
LARGEST = 4 << 20
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS leases"
    " (id INTEGER PRIMARY KEY AUTOINCREMENT, begins REAL NOT NULL, ends REAL NOT NULL)"
)


class Store:
    """The databases of all users of one gateway; its methods touch the disk: for a thread."""

    def __init__(self, state_dir: str | Path, tell: Tell = keep_quiet) -> None:
        """Keep leases below `state_dir`; `tell` is told of what of other users cannot be read."""
        self._directory = Path(state_dir)
        self._state = StateDirectory(state_dir)
        self._tell = tell

    def read(self) -> list[Lease]:
        """Return all leases of all users; raises LeaseError where nobody can vouch for them.

        It does so also where our own cannot be read; where another's cannot, `tell` is told.
        """
        try:
            return within(READ_WITHIN_S, self._read)
        except OSError as error:
            raise LeaseError(_line(self._directory, error)) from error

    def _read(self) -> list[Lease]:
        found: list[Lease] = []
        for place, uid in self._state.places(self._tell):
            owner = user_of(uid)
            try:
                found += _leases(place.read(NAME, LARGEST, uid), owner)
            except FileNotFoundError:
                continue
            except (OSError, sqlite3.Error, ValueError, TypeError) as error:
                words = _line(Path(place.where(NAME)), error)
                if uid == os.getuid():
                    raise LeaseError(f"your leases cannot be read: {words}") from error
                self._tell(f"the leases of {owner.name} are left out: {words}")
        return found

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from changing leases; raises LeaseError after some seconds of waiting."""
        try:
            place = self._state.key()
        except OSError as error:
            words = _line(self._directory, error)
            raise LeaseError(
                words if "as root" in words else f"{words}; {self._state.cure}"
            ) from error
        with self._claimed(place):
            yield

    @contextlib.contextmanager
    def _claimed(self, place: str) -> Iterator[None]:
        deadline = time.monotonic() + LOCK_WAIT_S
        try:
            while (claim := make_claim(place, "leases")) is None:
                if time.monotonic() >= deadline:
                    raise LeaseError(
                        f"{self._directory}: {_who(place)} has kept the leases locked for"
                        f" {LOCK_WAIT_S:g} s"
                    )
                time.sleep(LOOK_AGAIN_S)
        except OSError as error:
            raise LeaseError(f"the leases cannot be locked: {why(error)}") from error
        with claim:
            yield

    def add(self, begins: float, ends: float, holder: User) -> Lease:
        """Note a lease, under the lock; raises LeaseError."""
        with self._redrafting(holder) as database:
            number = database.execute(
                "INSERT INTO leases (begins, ends) VALUES (?, ?)", [begins, ends]
            ).lastrowid
        return Lease(begins, ends, holder.name, f"{holder.uid}.{number}")

    def remove(self, lease: Lease) -> None:
        """Forget a lease, under the lock; raises LeaseError."""
        uid, number = _parts(lease)
        with self._redrafting(user_of(uid)) as database:
            database.execute("DELETE FROM leases WHERE id = ?", [number])

    def shorten(self, lease: Lease, ends: float) -> None:
        """Let a lease end earlier, under the lock; raises LeaseError."""
        uid, number = _parts(lease)
        with self._redrafting(user_of(uid)) as database:
            database.execute("UPDATE leases SET ends = ? WHERE id = ?", [ends, number])

    @contextlib.contextmanager
    def _redrafting(self, holder: User) -> Iterator[sqlite3.Connection]:
        """Change a user's database in memory, then put it in place of the old one."""
        try:
            with self._state.place_of(holder.uid) as place:
                with in_memory(_content(place, holder.uid), VERSION) as database:
                    with database:
                        database.execute(SCHEMA)
                        database.execute(f"PRAGMA user_version = {VERSION}")
                        yield database
                    content = database.serialize()
                place.replace(NAME, content, holder.uid)
        except (OSError, sqlite3.Error, ValueError) as error:
            raise LeaseError(
                f"the leases of {holder.name} cannot be written: {_line(self._directory, error)}"
            ) from error


def _line(path: Path, error: Exception) -> str:
    """Return what is wrong, with the path before it unless the words begin with one."""
    said = why(error)
    return said if said.startswith("/") else f"{path}: {said}"


def _who(place: str) -> str:
    claimant = ask(place, "leases")
    return f"{user_of(claimant.uid).name} (pid {claimant.pid})" if claimant else "somebody"


def _parts(lease: Lease) -> tuple[int, int]:
    uid, _, number = lease.name.partition(".")
    return int(uid), int(number)


def _content(place: Directory, uid: int) -> bytes:
    try:
        return place.read(NAME, LARGEST, uid)
    except FileNotFoundError:
        return b""


def _leases(content: bytes, owner: User) -> list[Lease]:
    """Return what a database holds; rows that are no lease are left out.

    Raises sqlite3.Error, ValueError, TypeError.
    """
    with in_memory(content, VERSION, seconds=SECONDS) as database:
        return [
            Lease(float(begins), float(ends), owner.name, f"{owner.uid}.{number}")
            for number, begins, ends in rows(
                database, "SELECT id, begins, ends FROM leases", LARGEST
            )
            if isinstance(number, int)
            and isinstance(begins, int | float)
            and isinstance(ends, int | float)
            and 0 <= begins < ends <= LATEST
        ]
