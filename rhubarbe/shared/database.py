"""SQLite databases of users, opened in memory only, as whole copies, within bounds.

SQLite that opened a file where others may write would obey what lies beside it: a journal there
makes it overwrite the database, and remove any file that the journal names.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator

# Of one value, in bytes.
LONGEST_VALUE = 1 << 16
STEPS = 10_000
SECONDS = 2.0

Row = tuple[object, ...]


class Newer(ValueError):
    """A database that a later version of this program wrote."""


@contextlib.contextmanager
def in_memory(
    content: bytes, version: int, longest: int = LONGEST_VALUE, seconds: float = SECONDS
) -> Iterator[sqlite3.Connection]:
    """Open a database that anybody may have written: bounded in size and time, and runs no code.

    Without content, an empty one. Raises sqlite3.Error, and Newer for what is of a later `version`.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        if content:
            database.deserialize(content)
        database.execute("PRAGMA trusted_schema = OFF")
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        deadline = time.monotonic() + seconds
        database.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found > version:
            raise Newer(f"is of version {found}, and this program knows {version} at most")
        yield database


def rows(database: sqlite3.Connection, question: str, most: int) -> Iterator[Row]:
    """Yield the rows of an answer, of at most so many bytes in all.

    Raises sqlite3.Error, or ValueError for more than that.
    """
    size = 0
    for row in database.execute(question):
        size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
        if size > most:
            raise ValueError(f"tells more than {most} bytes")
        yield row
