"""One command at a time on a node, among all the users of this gateway.

A lock is the kernel's (flock) on `state_dir/locks/NODE`, so it goes when its holder dies, however
that dies. Beside it, `NODE.holder.USER` says who holds it, for who is refused, and for all nodes of
a command `FIRST.progress.USER` how far it is; they are only words.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pwd
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from rhubarbe.errors import GatewayError, why
from rhubarbe.gateway.shared import READABLE, create_readable, make_shared_directory
from rhubarbe.text import sanitise

LOOK_AGAIN = 0.5
# Within this, whoever has just taken a lock has said so.
INTRODUCTION = 0.5
LONGEST = 200
UNKNOWN = "another command"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock; `since` in seconds since the epoch, `first` the first node of all."""

    user: str
    command: str
    pid: int
    since: float
    first: str = ""

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since).astimezone()
        return f"{self.user}'s {self.command} (pid {self.pid}, since {since:%H:%M:%S})"


def user_name() -> str:
    """Return who we are as the kernel knows it: $USER may lie, and there may be no terminal."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


class Locks:
    """The locks of one command on its nodes; made with `hold`."""

    def __init__(self, state_dir: str | Path, command: str) -> None:
        self._directory = Path(state_dir, "locks")
        self._holder = Holder(user_name(), command, os.getpid(), time.time())
        self._held: dict[str, int] = {}

    def prepare(self) -> None:
        """Make the directory that all users share; raises OSError."""
        make_shared_directory(self._directory)

    def take(self, nodes: Sequence[str]) -> str | None:
        """Take the locks of all the nodes, or none; return who stands in the way, in words."""
        for node in sorted(nodes):
            descriptor = self._open(node)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                self.release()
                return f"{node} is taken by {self._who(node)}"
            self._held[node] = descriptor
        self._holder = replace(self._holder, first=min(nodes, default=""))
        for node in nodes:
            self._write(self._words(node), json.dumps(asdict(self._holder)))
        return None

    def tell(self, progress: str) -> None:
        """Say how far the command is; writes a file: for a thread."""
        if self._held:
            self._write(self._progress(self._holder), progress)

    def _open(self, node: str) -> int:
        """Open a lock's file; another user's only to read, which is enough to lock it.

        Never both at once: in a directory that all may write, the kernel refuses to open with
        O_CREAT what belongs to another.
        """
        path = self._directory / node
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with contextlib.suppress(FileExistsError):
                return create_readable(path, os.O_RDONLY | os.O_EXCL)
        raise GatewayError(f"{path}: the lock of {node} cannot be opened")

    def _words(self, node: str) -> Path:
        return self._directory / f"{node}.holder.{self._holder.user}"

    def _progress(self, holder: Holder) -> Path:
        return self._directory / f"{Path(holder.first).name}.progress.{Path(holder.user).name}"

    def _write(self, path: Path, text: str) -> None:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            draft.write_text(text, encoding="utf-8")
            draft.chmod(READABLE)
            draft.replace(path)

    def _who(self, node: str) -> str:
        """Return who says to hold a lock: the latest that is still alive."""
        found: list[Holder] = []
        for path in self._directory.glob(f"{node}.holder.*"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                holder = Holder(**json.loads(path.read_text(encoding="utf-8")))
                if Path(f"/proc/{holder.pid}").exists():
                    found.append(holder)
        words = UNKNOWN
        if found:
            holder = max(found, key=lambda holder: holder.since)
            words = str(holder)
            with contextlib.suppress(OSError, ValueError):
                words += f", {self._progress(holder).read_text(encoding='utf-8')[:LONGEST]}"
        return sanitise(words)  # others wrote them

    def release(self) -> None:
        """Give all locks back."""
        files = [self._words(node) for node in self._held]
        for file in [*files, self._progress(self._holder)] if files else []:
            with contextlib.suppress(OSError):  # they are only words
                file.unlink()
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()


@contextlib.asynccontextmanager
async def hold(
    state_dir: str | Path, command: str, nodes: Sequence[str], patience: float
) -> AsyncIterator[Locks]:
    """Hold the locks of all the nodes; wait for them for `patience` seconds.

    Raises GatewayError, which says who has one.
    """
    locks = Locks(state_dir, command)
    try:
        locks.prepare()
    except OSError as error:
        raise GatewayError(
            f"{state_dir}: cannot keep locks there: {why(error)};"
            f" as root: mkdir -m 1777 {state_dir}, or set state_dir in [testbed]"
        ) from error
    started = time.monotonic()
    while (obstacle := locks.take(nodes)) is not None:
        stranger = obstacle.endswith(UNKNOWN)
        if time.monotonic() - started >= max(patience, INTRODUCTION if stranger else 0.0):
            raise GatewayError(f"{obstacle}: nothing was touched")
        await asyncio.sleep(LOOK_AGAIN / 10 if stranger else LOOK_AGAIN)
    try:
        yield locks
    finally:
        locks.release()
