"""The leases of this gateway on disk, in SQLite: each user's in a database only they can write.

One database for all would be one that all can write, where anybody could forge and remove. So whose
lease it is, is not what a row says but who owns its file, `state_dir/leases.UID.sqlite`; the kernel
tells it of the very bytes that are read. A database is replaced as a whole, never changed in place:
readers need no lock, and whoever is killed leaves the old one. What overlaps is decided under one
lock, on the directory itself, which goes with its holder.
"""

import contextlib
import fcntl
import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.errors import LeaseError, why
from rhubarbe.leases.lease import LATEST, Lease
from rhubarbe.leases.user import User, user_of

LOCK_PATIENCE = 10.0
LOOK_AGAIN = 0.02
# Everybody may add files to a directory like this; nobody may remove another's.
SHARED = 0o1777
# Far more than anybody's leases; who makes a database beyond this hides but their own.
LARGEST = 4 << 20
MOST_STEPS = 2_000_000
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS leases"
    " (id INTEGER PRIMARY KEY AUTOINCREMENT, begins REAL NOT NULL, ends REAL NOT NULL)"
)

_DATABASE = re.compile(r"leases\.(\d{1,10})\.sqlite")


class Store:
    """The databases of all users of one gateway; its methods touch the disk: for a thread."""

    def __init__(self, state_dir: str | Path) -> None:
        self._directory = Path(state_dir)

    def read(self) -> list[Lease]:
        """Return all leases of all users; raises LeaseError where nobody can vouch for them.

        A database that is damaged, or that another user made, holds no lease.
        """
        self._require_trust()
        found: list[Lease] = []
        for path in sorted(self._directory.glob("leases.*.sqlite")):
            if name := _DATABASE.fullmatch(path.name):
                # A stranger's rows may hold anything; what is not understood is none.
                with contextlib.suppress(OSError, sqlite3.Error, ValueError, TypeError):
                    found += _read(path, user_of(int(name[1])))
        return found

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from changing leases; raises LeaseError after some seconds of waiting."""
        self._prepare()
        try:
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LeaseError(f"{self._directory}: cannot be locked: {why(error)}") from error
        try:
            _lock(descriptor, self._directory)
            yield
        finally:
            os.close(descriptor)

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

    def _prepare(self) -> None:
        try:
            if not self._directory.is_dir():
                self._directory.mkdir(parents=True, exist_ok=True)
                self._directory.chmod(SHARED)
        except OSError as error:
            raise LeaseError(f"{self._directory}: {why(error)}; {self._cure}") from error
        self._require_trust()

    @property
    def _cure(self) -> str:
        return f"as root: mkdir -p {self._directory}; chmod 1777 {self._directory}"

    def _require_trust(self) -> None:
        """Refuse a directory where somebody but root could remove what others own."""
        try:
            status = self._directory.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise LeaseError(f"{self._directory}: cannot be looked into: {why(error)}") from error
        if status.st_uid not in {0, os.getuid()}:
            raise LeaseError(
                f"{self._directory}: belongs to {user_of(status.st_uid).name}, who could remove"
                f" anybody's lease; as root: chown root {self._directory}"
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
            raise LeaseError(
                f"{self._directory}: anybody could remove anybody's lease there;"
                f" as root: chmod +t {self._directory}"
            )

    @contextlib.contextmanager
    def _redrafting(self, holder: User) -> Iterator[sqlite3.Connection]:
        """Change a user's database in memory, then put it in place of the old one."""
        path = self._directory / f"leases.{holder.uid}.sqlite"
        try:
            content = _bytes_of(path, holder.uid) if path.exists() else b""
            with _opened(content) as database:
                with database:
                    database.execute(SCHEMA)
                    yield database
                _replace(path, database.serialize(), holder)
        except PermissionError as error:
            raise LeaseError(f"{path}: cannot be written: {why(error)}; {self._cure}") from error
        except (OSError, sqlite3.Error, ValueError) as error:
            raise LeaseError(f"{path}: cannot be written: {why(error)}") from error


def _lock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise LeaseError(
                    f"{path}: somebody has kept this directory locked for {LOCK_PATIENCE:g} s;"
                    " `lslocks` tells who"
                ) from error
            time.sleep(LOOK_AGAIN)
        else:
            return


def _parts(lease: Lease) -> tuple[int, int]:
    uid, _, number = lease.name.partition(".")
    return int(uid), int(number)


def _bytes_of(path: Path, uid: int) -> bytes:
    """Return what this user keeps in a file, if it is theirs; raises OSError or ValueError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:  # noqa: PTH123 - of a descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != uid:
            raise ValueError(f"{path} is not a file of {user_of(uid).name}'s")
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST} bytes")
    return content


@contextlib.contextmanager
def _opened(content: bytes) -> Iterator[sqlite3.Connection]:
    """Open a database in memory, whoever wrote it: it can neither run nor swell nor go on and on.

    Raises sqlite3.Error.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        if content:
            database.deserialize(content)
        database.execute("PRAGMA trusted_schema = OFF")
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
        database.set_progress_handler(lambda: 1, MOST_STEPS)
        yield database


def _read(path: Path, owner: User) -> Iterator[Lease]:
    with _opened(_bytes_of(path, owner.uid)) as database:
        for number, begins, ends in database.execute("SELECT id, begins, ends FROM leases"):
            if 0 <= begins < ends <= LATEST:
                yield Lease(float(begins), float(ends), owner.name, f"{owner.uid}.{int(number)}")


def _replace(path: Path, content: bytes, holder: User) -> None:
    """Write a file of the holder's; it has its name only when it is whole on the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(draft, flags, 0o644), "wb") as stream:  # noqa: PTH123 - of a descriptor
            if holder.uid != os.getuid():
                os.fchown(stream.fileno(), holder.uid, -1)
            os.fchmod(stream.fileno(), 0o644)  # whatever the umask
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
