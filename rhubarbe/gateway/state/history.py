"""What became of each node in each command, in SQLite: which nodes fail, and which are slow.

Each user has a database of their own, `history.sqlite` in their directory below `state_dir`, so
that nobody can spoil what another has noted, nor hold another up; all are read together. One is
always read and replaced as a whole.
"""

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.concurrency.time_limit import within
from rhubarbe.errors import GatewayError, why
from rhubarbe.events import NodeResult
from rhubarbe.gateway.state.ordering import in_order
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.state import StateDirectory, Tell, keep_quiet
from rhubarbe.shared.trust import name_of

if TYPE_CHECKING:
    import sqlite3

    from rhubarbe.shared.database import Row


NAME, LOCK = "history.sqlite", ".history.lock"
VERSION = 1
LOCK_WAIT_S = 2.0
LOOK_AGAIN_S = 0.02
READ_WITHIN_S = 8.0
# Bytes of a user's file; the oldest half of the runs is forgotten when it is half full.
LARGEST = 16 << 20
KEPT = 20_000  # runs of one user
# Bytes of all texts read from one file: what we write there is no longer than the file itself.
MOST_TOLD = 2 * LARGEST
LONGEST_REASON = 4000
# The end of the times that a date can be made of, whatever the zone.
LATEST = 2.0**33
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS runs (
        id INTEGER PRIMARY KEY, started REAL, command TEXT, exit_code INTEGER, seconds REAL)""",
    """CREATE TABLE IF NOT EXISTS nodes (
        run INTEGER REFERENCES runs ON DELETE CASCADE, node TEXT, ok INTEGER, attempts INTEGER,
        seconds REAL, phase TEXT, reason TEXT)""",
    """CREATE TABLE IF NOT EXISTS phases (
        run INTEGER REFERENCES runs ON DELETE CASCADE, node TEXT, phase TEXT, seconds REAL)""",
    """CREATE TABLE IF NOT EXISTS blameless (
        run INTEGER REFERENCES runs ON DELETE CASCADE, node TEXT)""",
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
    """One node in one command; `phases` has seconds by the word of a phase.

    One that failed is `blameless` where the gateway or the image was at fault.
    """

    node: str
    ok: bool
    attempts: int
    phase: str
    reason: str
    started: float
    command: str
    phases: dict[str, float]
    image: str = ""
    blameless: bool = False


class History:
    """The databases below `state_dir`."""

    def __init__(self, state_dir: "str | Path") -> None:
        self._state = StateDirectory(state_dir)
        self._state_dir = state_dir

    def add(self, run: Run) -> None:
        """Note a run; raises GatewayError. It waits for a lock and the disk: for a thread."""
        try:
            import sqlite3  # most commands that know of a history neither read nor write it
        except ImportError as error:
            raise GatewayError(f"not noted in the history: {error}") from error

        try:
            with self._state.place_of(os.getuid()) as place, _locked(place):
                place.replace(NAME, _with_run(_content(place), run), os.getuid())
        except (OSError, sqlite3.Error, ValueError) as error:
            raise GatewayError(
                f"{self._state_dir}: not noted in the history: {why(error)}"
            ) from error

    def runs(self, tell: Tell = keep_quiet) -> list[NodeRun]:
        """Return what all users noted, in order; `tell` is told of what cannot be read."""
        found: list[list[NodeRun]] = []
        try:
            within(READ_WITHIN_S, self._read_all, found, tell)
        except OSError as error:
            tell(f"{self._state_dir}: not all of the history can be read there: {why(error)}")
        return in_order(found)

    def _read_all(self, found: list[list[NodeRun]], tell: Tell) -> None:
        """Add to `found` what each user has noted."""
        import sqlite3

        for place, owner in self._state.places(tell):
            try:
                found.append(_read(place.read(NAME, LARGEST, owner)))
            except FileNotFoundError:
                continue
            except (OSError, sqlite3.Error, ValueError, TypeError) as error:
                said = why(error)
                where = "" if said.startswith(place.path) else f"{place.where(NAME)}: "
                tell(f"the history of {name_of(owner)} is left out: {where}{said}")


@contextlib.contextmanager
def _locked(place: Directory) -> Iterator[None]:
    """Keep our other commands from replacing our file; nobody else can open its lock."""
    descriptor = place.open_own(LOCK, os.O_RDWR, 0o600)
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError("another command keeps it locked") from None
                time.sleep(LOOK_AGAIN_S)
        yield
    finally:
        os.close(descriptor)


def _content(place: Directory) -> bytes:
    try:
        return place.read(NAME, LARGEST, os.getuid())
    except FileNotFoundError:
        return b""


def _with_run(content: bytes, run: Run) -> bytes:
    """Return a database with one more run, and without the oldest where it is half full."""
    from rhubarbe.shared.database import in_memory

    with in_memory(content, VERSION, LARGEST) as database:
        with database:
            for statement in SCHEMA:
                database.execute(statement)
            if not _has_images(database):
                database.execute(IMAGE)
            database.execute(f"PRAGMA user_version = {VERSION}")
            _insert(database, run)
            # By the order of noting: a clock that jumped ahead for a moment must not purge all.
            _forget(database, "SELECT max(id) - ? FROM runs", KEPT)
        if len(content) > LARGEST // 2:
            _forget_half(database)
        return database.serialize()


def _forget_half(database: "sqlite3.Connection") -> None:
    """Forget the older runs, by the order in which they were noted: clocks may jump."""
    with database:
        _forget(database, "SELECT (min(id) + max(id)) / ? FROM runs", 2)
    database.execute("VACUUM")


def _forget(database: "sqlite3.Connection", last: str, *values: int) -> None:
    """Forget the runs up to the last one that a question tells the number of."""
    (number,) = database.execute(last, values).fetchone()
    for table, column in (
        *(("runs", "id"), ("nodes", "run")),
        *(("phases", "run"), ("blameless", "run")),
    ):
        database.execute(f"DELETE FROM {table} WHERE {column} <= ?", [number])  # noqa: S608


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
            for reason in [_stored(each.reason[:LONGEST_REASON])]
        ],
    )
    database.executemany(
        "INSERT INTO blameless VALUES (?, ?)",
        [(number, each.node) for each in run.nodes if each.blameless],
    )
    database.executemany(
        "INSERT INTO phases VALUES (?, ?, ?, ?)",
        [
            (number, each.node, phase, seconds)
            for each in run.nodes
            for phase, seconds in each.phases.items()
        ],
    )


def _read(content: bytes) -> list[NodeRun]:
    """Return what a database tells; raises sqlite3.Error, ValueError, TypeError."""
    from rhubarbe.shared.database import in_memory, rows

    with in_memory(content, VERSION) as database:
        database.text_factory = _text
        if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            return []
        phases: dict[tuple[object, object], dict[str, float]] = {}
        for run, node, phase, seconds in rows(
            database, "SELECT run, node, phase, seconds FROM phases", MOST_TOLD
        ):
            phases.setdefault((run, node), {})[str(phase)] = _number(seconds)
        blameless = _blameless(database)
        image = "image" if _has_images(database) else "NULL"
        told = rows(
            database,
            f"SELECT run, started, command, node, ok, attempts, phase, reason, {image}"  # noqa: S608
            " FROM nodes JOIN runs ON runs.id = nodes.run ORDER BY runs.id, nodes.rowid",
            MOST_TOLD,
        )
        return [_node_run(row, phases, blameless) for row in told]


def _blameless(database: "sqlite3.Connection") -> set[tuple[object, object]]:
    """Return the nodes that were not at fault, each with its run; earlier versions noted none."""
    from rhubarbe.shared.database import rows

    if not list(database.execute("PRAGMA table_info(blameless)")):
        return set()
    return {
        (run, node) for run, node in rows(database, "SELECT run, node FROM blameless", MOST_TOLD)
    }


def _node_run(
    row: "Row",
    phases: dict[tuple[object, object], dict[str, float]],
    blameless: set[tuple[object, object]],
) -> NodeRun:
    run, started, command, node, ok, attempts, phase, reason, image = row
    return NodeRun(
        node=str(node),
        ok=bool(ok),
        attempts=int(_number(attempts)),
        phase=str(phase or ""),
        reason=str(reason),
        started=_time(started),
        command=str(command),
        phases=phases.get((run, node), {}),
        image=str(image or ""),
        blameless=(run, node) in blameless,
    )


def _time(value: object) -> float:
    """Return the nearest time that a date can be made of: clocks jump; raises ValueError."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is no time")
    return min(max(float(value), 0.0), LATEST - 1)


def _number(value: object) -> float:
    """Return a number that makes sense as a span or a count; raises ValueError."""
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value < LATEST:
        raise ValueError(f"{str(value)[:40]!r} is no span and no count")
    return float(value)
