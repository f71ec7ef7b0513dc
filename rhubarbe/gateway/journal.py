"""A journal of nextboot links: after a crash of this machine, whoever comes next can remove them.

One file a link, `state_dir/links/NODE.UID`, is there before the link is and goes after it. It says
who made the link, in which process and since which boot of this machine. `sweep` removes links that
a dead command left behind, never one that is in use, that somebody else made, or that is no link.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rhubarbe.errors import GatewayError, why
from rhubarbe.gateway.guardian_program import start_of
from rhubarbe.gateway.locks import Holder, Locks, user_name
from rhubarbe.gateway.shared import create_readable, make_shared_directory
from rhubarbe.gateway.threads import to_the_end
from rhubarbe.text import sanitise

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# A link's name, as pxelinux looks for it: nothing else is ever removed.
LINK = re.compile(r"01(-[0-9a-f]{2}){6}")
LONGEST_RECORD = 65536


@dataclass(frozen=True, slots=True)
class Record:
    """One link: towards `target`, made by `user`; times in seconds since the epoch.

    `start` is when the process `pid` began, in ticks, by which it is told from a later one of the
    same number; `boot` is this machine's boot id.
    """

    node: str
    path: str
    target: str
    user: str
    command: str
    pid: int
    start: str
    boot: str
    since: float
    expires: float

    def is_live(self, boot: str) -> bool:
        """Tell whether the command that made the link may still run, on this `boot`."""
        if self.boot != boot:
            return False
        if start := start_of(str(self.pid)):
            return start == self.start
        try:
            os.kill(self.pid, 0)
        except PermissionError:
            # Another user's process, of which /proc does not tell: believed until it is overdue.
            return time.time() < self.expires
        except (ProcessLookupError, OverflowError):
            return False
        return False  # ours, and dead: nobody has taken notice yet

    def __str__(self) -> str:
        holder = Holder(self.user, self.command, self.pid, self.since)
        return sanitise(f"{self.node}, left behind by {holder}")  # others wrote it


class Journal:
    """The journal of one command."""

    def __init__(self, state_dir: str | Path, command: str, lifetime: float) -> None:
        """Record links as made by `command`, which should be over in `lifetime` seconds."""
        self._state_dir = state_dir
        self._directory = Path(state_dir, "links")
        self.command = command
        self._lifetime = lifetime
        self._boot = BOOT_ID.read_text(encoding="ascii").strip()

    @contextlib.asynccontextmanager
    async def recorded(self, node: str, path: Path, target: str) -> AsyncIterator[None]:
        """Keep a record of a link for the length of the context; raises GatewayError.

        A link that could not be removed keeps its record: whoever can removes both.
        """
        file = self._directory / f"{node}.{os.getuid()}"
        stays = False
        try:
            await self._note(file, self._record(node, path, target))
            yield
        except BaseException:
            stays = _leads_to(path, target)
            raise
        finally:
            with contextlib.suppress(OSError):  # the next sweep finds a record without a link
                if not stays:
                    file.unlink(missing_ok=True)

    async def _note(self, file: Path, record: Record) -> None:
        try:
            await to_the_end(self._write, file, record)
        except OSError as error:
            raise GatewayError(f"{file}: the link cannot be noted there: {why(error)}") from error

    def _record(self, node: str, path: Path, target: str) -> Record:
        now = time.time()
        return Record(
            node=node,
            path=os.fspath(path.absolute()),
            target=target,
            user=user_name(),
            command=self.command,
            pid=os.getpid(),
            start=start_of(str(os.getpid())),
            boot=self._boot,
            since=now,
            expires=now + self._lifetime,
        )

    def _write(self, file: Path, record: Record) -> None:
        """Write a record that survives a loss of power."""
        make_shared_directory(self._directory)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW
        try:
            with os.fdopen(create_readable(draft, flags), "w", encoding="utf-8") as stream:
                json.dump(asdict(record), stream)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(file)
        except BaseException:  # a signal too leaves no draft
            draft.unlink(missing_ok=True)
            raise

    def sweep(self, config_dir: str | Path) -> list[str]:
        """Remove stale links from `config_dir`, and say what was done, a sentence a link.

        Reads and removes files: for a thread. Raises nothing: what cannot be swept stays.
        """
        said: list[str] = []
        with contextlib.suppress(OSError, GatewayError):
            for file, record, owner in self._records():
                if not record.is_live(self._boot) and _is_nextboot(record, config_dir):
                    said += self._sweep_one(file, record, owner)
        return said

    def _records(self) -> Iterator[tuple[Path, Record, int]]:
        """Yield each record that makes sense, with the user id of who wrote it."""
        for file in sorted(self._directory.glob("[!.]*")):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(descriptor, encoding="utf-8") as stream:
                    record = _parse(stream.read(LONGEST_RECORD))
                    owner = os.fstat(descriptor).st_uid
                yield file, record, owner

    def _sweep_one(self, file: Path, record: Record, owner: int) -> list[str]:
        """Remove a stale link and its record, unless somebody works on the node meanwhile."""
        locks = Locks(self._state_dir, "sweep")
        locks.prepare()
        if locks.take([record.node]) is not None:
            return []
        try:
            words = _remove(record, owner)
            with contextlib.suppress(OSError):  # another user's: the link is what matters
                file.unlink(missing_ok=True)
        except OSError as error:
            return [f"the nextboot link of {record} cannot be removed: {why(error)}"]
        finally:
            locks.release()
        return words


def _leads_to(path: Path, target: str) -> bool:
    try:
        return os.fspath(path.readlink()) == target
    except OSError:
        return False


def _parse(text: str) -> Record:
    """Read what any user may have written; raises ValueError, TypeError or KeyError."""
    values = json.loads(text)
    for name in Record.__annotations__:
        kind = {"pid": int, "since": int | float, "expires": int | float}.get(name, str)
        if not isinstance(values[name], kind):
            raise TypeError(name)
    record = Record(**values)
    if record.pid <= 0 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", record.node):
        raise ValueError(text)
    return record


def _is_nextboot(record: Record, config_dir: str | Path) -> bool:
    path = Path(record.path)
    return LINK.fullmatch(path.name) is not None and path.parent == Path(config_dir).absolute()


def _remove(record: Record, owner: int) -> list[str]:
    """Remove the link if it is still the one that was recorded, of the user who recorded it."""
    link = Path(record.path)
    try:
        if link.lstat().st_uid != owner or os.fspath(link.readlink()) != record.target:
            return []
        link.unlink()
    except FileNotFoundError:
        return []
    return [f"removed the nextboot link of {record}"]
