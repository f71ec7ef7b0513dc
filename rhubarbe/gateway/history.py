"""What became of each node in each command, in SQLite: which nodes fail, and which are slow.

Each user writes a database of their own, `state_dir/history/UID.sqlite`, so that nobody can spoil
what another has noted, nor hold another up; all are read together.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.errors import GatewayError, why
from rhubarbe.events import NodeResult
from rhubarbe.gateway.ordering import in_order
from rhubarbe.gateway.shared import create_readable, make_shared_directory

if TYPE_CHECKING:
    import sqlite3

LOCK_PATIENCE = 5.0
KEPT = 20_000  # runs of one user
# Rows of other users are read: a view or trigger planted among them must not run anything.
GUARDED = "PRAGMA trusted_schema = OFF"
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS runs (
        id INTEGER PRIMARY KEY, started REAL, command TEXT, exit_code INTEGER, seconds REAL)""",
    """CREATE TABLE IF NOT EXISTS nodes (
        run INTEGER REFERENCES runs ON DELETE CASCADE, node TEXT, ok INTEGER, attempts INTEGER,
        seconds REAL, phase TEXT, reason TEXT)""",
    """CREATE TABLE IF NOT EXISTS phases (
        run INTEGER REFERENCES runs ON DELETE CASCADE, node TEXT, phase TEXT, seconds REAL)""",
    "CREATE INDEX IF NOT EXISTS nodes_of_run ON nodes (run)",
    "CREATE INDEX IF NOT EXISTS phases_of_run ON phases (run)",
)
# What the first databases did not have.
IMAGE = "ALTER TABLE runs ADD COLUMN image TEXT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command that ended; `started` in seconds since the epoch.

    `image` is the path of what was loaded, or empty.
    """

    started: float
    command: str
    exit_code: int
    seconds: float
    nodes: Sequence[NodeResult]
    image: str = ""


@dataclass(frozen=True, slots=True)
class NodeRun:
    """One node in one command; `phases` has seconds by the word of a phase."""

    node: str
    ok: bool
    attempts: int
    phase: str
    reason: str
    started: float
    command: str
    phases: dict[str, float]
    image: str = ""


class History:
    """The databases below `state_dir`."""

    def __init__(self, state_dir: str | Path) -> None:
        self._directory = Path(state_dir, "history")

    def add(self, run: Run) -> None:
        """Note a run; raises GatewayError. It waits for a lock and the disk: for a thread."""
        try:
            import sqlite3  # most commands that know of a history neither read nor write it
        except ImportError as error:
            raise GatewayError(f"not noted in the history: {error}") from error

        try:
            self._add(run)
        except (OSError, sqlite3.Error, ValueError) as error:
            raise GatewayError(
                f"{self._directory}: not noted in the history: {why(error)}"
            ) from error

    def _add(self, run: Run) -> None:
        make_shared_directory(self._directory)
        with self._open_ours() as database, database:
            # The lock comes first: a reader that turns writer is refused at once, not made to wait.
            database.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                database.execute(statement)
            if not _has_images(database):
                database.execute(IMAGE)
            _insert(database, run)
            # By the order of noting: a clock that jumped ahead for a moment must not purge all.
            database.execute("DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?", [KEPT])

    @contextlib.contextmanager
    def _open_ours(self) -> "Iterator[sqlite3.Connection]":
        path = self._directory / f"{os.getuid()}.sqlite"
        with contextlib.suppress(FileExistsError):
            os.close(create_readable(path, os.O_WRONLY | os.O_EXCL))
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(f"{path} is not a file of yours")
        # Never created here: the kernel refuses that in a directory which all may write.
        with _open(path, "rw") as database:
            database.execute("PRAGMA foreign_keys = ON")
            yield database

    def runs(self) -> list[NodeRun]:
        """Return all that is noted, of all users, in order; what cannot be read is left out."""
        import sqlite3

        found: list[list[NodeRun]] = []
        for path in sorted(self._directory.glob("*.sqlite")):
            # A stranger's rows may hold anything.
            with (
                contextlib.suppress(sqlite3.Error, ValueError, TypeError),
                _open(path, "ro") as database,
            ):
                found.append(list(_read(database)))
        return in_order(found)


@contextlib.contextmanager
def _open(path: Path, mode: str) -> "Iterator[sqlite3.Connection]":
    import sqlite3

    address = f"{path.absolute().as_uri()}?mode={mode}"
    with contextlib.closing(sqlite3.connect(address, timeout=LOCK_PATIENCE, uri=True)) as database:
        database.execute(GUARDED)
        database.text_factory = _text
        yield database


# A name of a file may hold bytes that are no text: SQLite stores them, but not by Python's `str`.
def _stored(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def _has_images(database: "sqlite3.Connection") -> bool:
    columns = database.execute("PRAGMA table_info(runs)")
    return any(name == "image" for _, name, *_ in columns)


def _insert(database: "sqlite3.Connection", run: Run) -> None:
    number = database.execute(
        "INSERT INTO runs (started, command, exit_code, seconds, image)"
        " VALUES (?, ?, ?, ?, CAST(? AS TEXT))",
        [run.started, run.command, run.exit_code, run.seconds, _stored(run.image)],
    ).lastrowid
    database.executemany(
        "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT))",
        [
            (*(number, each.node, each.ok, each.attempts, each.seconds, each.phase), reason)
            for each in run.nodes
            for reason in [_stored(each.reason)]
        ],
    )
    database.executemany(
        "INSERT INTO phases VALUES (?, ?, ?, ?)",
        [
            (number, each.node, phase, seconds)
            for each in run.nodes
            for phase, seconds in each.phases.items()
        ],
    )


def _read(database: "sqlite3.Connection") -> Iterator[NodeRun]:
    phases: dict[tuple[int, str], dict[str, float]] = {}
    for run, node, phase, seconds in database.execute(
        "SELECT run, node, phase, seconds FROM phases"
    ):
        phases.setdefault((run, node), {})[str(phase)] = float(seconds)
    image = "image" if _has_images(database) else "NULL"
    for run, started, command, node, ok, attempts, phase, reason, loaded in database.execute(
        f"SELECT run, started, command, node, ok, attempts, phase, reason, {image}"  # noqa: S608
        " FROM nodes JOIN runs ON runs.id = nodes.run ORDER BY runs.id, nodes.rowid"
    ):
        yield NodeRun(
            node=str(node),
            ok=bool(ok),
            attempts=int(attempts),
            phase=str(phase or ""),
            reason=str(reason),
            started=float(started),
            command=str(command),
            phases=phases.get((run, node), {}),
            image=str(loaded or ""),
        )
