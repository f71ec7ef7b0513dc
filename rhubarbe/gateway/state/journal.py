"""A journal of nextboot links: after a crash of this machine, whoever comes next can remove them.

One file a link, `link.NODE` (or `link.NODE+1`, where a node has another) in the user's directory
below `state_dir`, is there before the link is and goes after it. It says who made the link, in
which process and since which boot of this machine.
`sweep` removes links that a dead command left behind, never one that is in use, that somebody else
made, or that is no link.

What a node's controller is asked for instead of a link, `link.NODE+asked` tells, without a path:
`end_requests` has that ended.
"""

import asyncio
import contextlib
import errno
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rhubarbe.concurrency.threads import in_passing, to_an_end, to_the_end
from rhubarbe.concurrency.time_limit import within
from rhubarbe.errors import GatewayError, RhubarbeError, why
from rhubarbe.gateway.processes.guardian_program import start_of
from rhubarbe.gateway.state.locks import LATEST, Holder, Locks
from rhubarbe.shared.directory import Directory, fresh_name
from rhubarbe.shared.documents import parse
from rhubarbe.shared.state import StateDirectory, Tell
from rhubarbe.shared.trust import name_of, user_name
from rhubarbe.text import and_more, sanitise

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PREFIX = "link."
ASKED = "+asked"
LONGEST_RECORD = 8192
# Far more than a testbed has nodes.
MOST_RECORDS = 2000
READ_WITHIN_S = 5.0
# Errors of a disk of another machine that does not answer now: what is on it may come back.
SILENT = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN})
# More processes than Linux can have.
PIDS = 1 << 23


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """One link: towards `target`, made by `user`; times in seconds since the epoch.

    Where `path` is empty, it is what a controller was asked for.

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
            # A process of another user, of which /proc may not tell: its word counts until overdue.
            return time.time() < self.expires
        except (ProcessLookupError, OverflowError):
            return False
        return False  # ours, and dead, but not yet reaped by its parent

    def __str__(self) -> str:
        holder = Holder(self.user, self.command, self.pid, self.since)
        return sanitise(f"{self.node}, left behind by {holder}")  # others wrote it


class Journal:
    """The journal of one command."""

    def __init__(self, state_dir: str | Path, command: str, lifetime: float) -> None:
        """Record links as made by `command`, which should be over in `lifetime` seconds."""
        self._state_dir = state_dir
        self._state = StateDirectory(state_dir)
        self.command = command
        self._lifetime = lifetime
        self._boot = BOOT_ID.read_text(encoding="ascii").strip()

    def try_out(self) -> None:
        """Write a file among our records, and remove it; raises OSError where none can be noted."""
        with self._state.place_of(os.getuid()) as place:
            name = fresh_name("trial")
            place.replace(name, bytes(LONGEST_RECORD), os.getuid())
            place.unlink(name)

    @contextlib.asynccontextmanager
    async def recorded(
        self, node: str, path: Path, target: str, number: int = 0
    ) -> AsyncIterator[None]:
        """Keep a record of a link for the length of the context; raises GatewayError.

        The links of a node have a `number` each. A link that could not be removed keeps its
        record: whoever can removes both.
        """
        stays = False
        name = PREFIX + node + (f"+{number}" if number else "")
        try:
            await self._note(self._record(node, path, target), name)
            yield
        except BaseException:
            stays = await _may_lead_to(path, target)
            raise
        finally:
            if not stays:
                await to_the_end(self._forget, os.getuid(), name)

    @contextlib.asynccontextmanager
    async def recorded_request(self, node: str, is_over: Callable[[], bool]) -> AsyncIterator[None]:
        """Keep a record of what a node's controller is asked for; raises GatewayError.

        It goes at the end of the context, by an error only if the request `is_over`.
        """
        name = f"{PREFIX}{node}{ASKED}"
        stays = False
        try:
            await self._note(self._record(node, None, ""), name)
            yield
        except BaseException:
            stays = not is_over()
            raise
        finally:
            if not stays:
                await to_the_end(self._forget, os.getuid(), name)

    async def _note(self, record: LinkRecord, name: str) -> None:
        try:
            await to_the_end(self._write, record, name)
        except OSError as error:
            raise GatewayError(
                f"{self._state_dir}: the link of {record.node} cannot be noted there: {why(error)}"
            ) from error

    def _write(self, record: LinkRecord, name: str) -> None:
        """Write a record that survives a loss of power."""
        content = json.dumps(asdict(record)).encode("ascii")
        with self._state.place_of(os.getuid()) as place:
            place.replace(name, content, os.getuid())

    def _forget(self, uid: int, name: str) -> None:
        """Remove a record wherever it is; what stays tells the next sweep of no link."""
        with contextlib.suppress(OSError):
            for place, owner in self._state.places(lambda _: None):
                if owner == uid:
                    place.remove(name)

    def _record(self, node: str, path: Path | None, target: str) -> LinkRecord:
        now = time.time()
        return LinkRecord(
            node=node,
            path=os.fspath(path.absolute()) if path else "",
            target=target,
            user=user_name(),
            command=self.command,
            pid=os.getpid(),
            start=start_of(str(os.getpid())),
            boot=self._boot,
            since=now,
            expires=now + self._lifetime,
        )

    def sweep(self, config_dir: Path, names: re.Pattern[str]) -> list[str]:
        """Remove stale links of such names from `config_dir`; say what was done, a line a link.

        Reads and removes files: for a thread. Raises nothing: what cannot be swept stays. What
        makes no sense is told of, once a user.
        """
        said: list[str] = []
        try:
            for record, name, owner in within(READ_WITHIN_S, self._records, said.append):
                if record.is_live(self._boot):
                    continue
                if _is_nextboot(record, config_dir, names):
                    said += self._sweep_one(record, name, owner)
        except (OSError, GatewayError) as error:
            said.append(f"{self._state_dir}: links left behind are not looked for: {why(error)}")
        return [sanitise(words) for words in said]

    async def end_requests(self, ends: Mapping[str, Callable[[], Awaitable[None]]]) -> list[str]:
        """End what dead commands have asked the controllers of some nodes for; say what was done.

        Each node is given with what ends that. Raises nothing: what cannot be ended stays noted.
        """
        try:
            found = await in_passing(READ_WITHIN_S, self._records, lambda _: None)
        except (OSError, GatewayError) as error:
            words = f"{self._state_dir}: what was asked of controllers is not looked for"
            return [sanitise(f"{words}: {why(error)}")]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._end_one(record, name, owner, ends[record.node]))
                for record, name, owner in found
                if not record.path and record.node in ends and not record.is_live(self._boot)
            ]
        return [sanitise(words) for task in tasks for words in task.result()]

    async def _end_one(
        self, record: LinkRecord, name: str, owner: int, end: Callable[[], Awaitable[None]]
    ) -> list[str]:
        """End one request, unless somebody works on the node meanwhile."""
        locks = Locks(self._state_dir, "sweep")
        try:
            await asyncio.to_thread(locks.prepare)
            if locks.take([record.node]) is not None:
                return []
            await end()
            await to_the_end(self._forget, owner, name)
        except (OSError, RhubarbeError) as error:
            return [f"the boot override of {record} cannot be ended: {why(error)}"]
        finally:
            locks.release()
        # Another user's note may stay, and then each command would say so.
        return [f"ended the boot override of {record}"] if os.getuid() in (0, owner) else []

    def _records(self, tell: Tell) -> list[tuple[LinkRecord, str, int]]:
        """Return each record that makes sense, its file's name, and the user id of who wrote it."""
        found: list[tuple[LinkRecord, str, int]] = []
        for place, owner in self._state.places(tell):
            wrong: list[str] = []
            try:
                names = [each for each in place.names() if each.startswith(PREFIX)]
            except OSError as error:
                tell(why(error))
                continue
            for name in names[:MOST_RECORDS]:
                try:
                    record = _parse(place.read(name, LONGEST_RECORD, owner))
                except FileNotFoundError:  # forgotten meanwhile
                    continue
                except (OSError, ValueError, TypeError, KeyError):
                    wrong.append(name)
                else:
                    found.append((record, name, owner))
            if wrong:
                tell(
                    f"{place.where(wrong[0])}: a note of {name_of(owner)}'s that makes no sense"
                    + and_more(len(wrong) - 1)
                )
        return found

    def _sweep_one(self, record: LinkRecord, name: str, owner: int) -> list[str]:
        """Remove a stale link and its record, unless somebody works on the node meanwhile."""
        locks = Locks(self._state_dir, "sweep")
        locks.prepare()
        if locks.take([record.node]) is not None:
            return []
        try:
            words = _remove(record, owner)
            self._forget(owner, name)
        except OSError as error:
            return [f"the nextboot link of {record} cannot be removed: {why(error)}"]
        finally:
            locks.release()
        return words


async def _may_lead_to(path: Path, target: str) -> bool:
    """Tell whether a link leads there still, or may do so on a disk that does not answer."""
    try:
        return await to_an_end(READ_WITHIN_S, _leads_to, path, target)
    except (TimeoutError, GatewayError):
        return True
    except OSError as error:
        return error.errno in SILENT


def _leads_to(path: Path, target: str) -> bool:
    with Directory.open(path.parent, follows=True) as directory:
        return directory.link_at(path.name) == target


def _parse(content: bytes) -> LinkRecord:
    """Read what any user may have written; raises ValueError, TypeError or KeyError."""
    values = parse(content.decode())
    for name in LinkRecord.__annotations__:
        kind = {"pid": int, "since": int | float, "expires": int | float}.get(name, str)
        if not isinstance(values[name], kind):
            raise TypeError(name)
    record = LinkRecord(**values)
    is_possible = 0 < record.pid < PIDS and 0 <= record.since < LATEST
    if not is_possible or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", record.node):
        raise ValueError("impossible")
    return record


def _is_nextboot(record: LinkRecord, config_dir: Path, names: re.Pattern[str]) -> bool:
    path = Path(record.path)
    return names.fullmatch(path.name) is not None and path.parent == config_dir.absolute()


def _remove(record: LinkRecord, owner: int) -> list[str]:
    """Remove the link if it is still the one that was recorded, of the user who recorded it."""
    link = Path(record.path)
    try:
        with Directory.open(link.parent, follows=True) as directory:
            is_theirs = directory.status_of(link.name).st_uid == owner
            if not is_theirs or directory.link_at(link.name) != record.target:
                return []
            directory.unlink(link.name)
    except FileNotFoundError:
        return []
    return [f"removed the nextboot link of {record}"]
