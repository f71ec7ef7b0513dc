"""One command at a time on a node, among all the users of this gateway.

A lock is a claim (`rhubarbe.shared.claims`) on the node, among those who have the same `state_dir`:
it goes when its holder dies, however that dies, and the kernel tells who that is. The holder says
which command it is, since when, and how far it has come; those are only words.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rhubarbe.errors import GatewayError, why
from rhubarbe.shared.claims import Claimant, ask, make_claim, tell
from rhubarbe.shared.state import StateDirectory
from rhubarbe.shared.trust import name_of
from rhubarbe.text import sanitise

LOOK_AGAIN_S = 0.5
# A lock is taken a moment before its holder can answer who it is: it has so long for that.
INTRODUCTION_S = 0.5
LONGEST = 200
UNKNOWN = "another command"
# The end of the times that a date can be made of, whatever the zone.
LATEST = 2.0**33


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock; `since` in seconds since the epoch, 0 where that is not known."""

    user: str
    command: str
    pid: int
    since: float

    def __str__(self) -> str:
        since = ""
        if 0 < self.since < LATEST:
            since = f", since {datetime.fromtimestamp(self.since).astimezone():%H:%M:%S}"
        return f"{self.user}'s {self.command} (pid {self.pid}{since})"


class Locks:
    """The locks of one command on its nodes; made with `hold`."""

    def __init__(self, state_dir: str | Path, command: str) -> None:
        self._state = StateDirectory(state_dir)
        self._place = ""
        self._command = command
        self._since = time.time()
        self._progress = ""
        self._held: dict[str, socket.socket] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def prepare(self) -> None:
        """Find the place that all users share, made where it is not there; raises OSError."""
        self._place = self._state.key()

    def take(self, nodes: Sequence[str]) -> str | None:
        """Take the locks of all the nodes, or none; return a node that somebody else has.

        Raises GatewayError where this machine lets nobody lock.
        """
        for node in sorted(nodes):
            try:
                claim = make_claim(self._place, f"node/{node}")
            except OSError as error:
                self.release()
                raise GatewayError(f"{node}: cannot be locked: {why(error)}") from error
            if claim is None:
                self.release()
                return node
            self._held[node] = claim
        return None

    def answer(self) -> None:
        """Say who holds the locks to whoever asks, from the running loop, until they are given."""
        self._loop = asyncio.get_running_loop()
        for claim in self._held.values():
            self._loop.add_reader(claim, self._say, claim)

    def _say(self, claim: socket.socket) -> None:
        tell(claim, f"{self._command}\n{self._since}\n{self._progress}")

    def tell(self, progress: str) -> None:
        """Say how far the command is, from now on."""
        self._progress = progress

    def who_has(self, node: str) -> tuple[str, bool]:
        """Return who has a lock, and whether they said so themselves; asks: for a thread."""
        claimant = ask(self._place, f"node/{node}")
        if claimant is None:
            return UNKNOWN, False
        if not claimant.words:
            user, command = name_of(claimant.uid), _program_of(claimant.pid)
            return f"{user}'s {command} (pid {claimant.pid}), which does not answer", False
        return _described(claimant), True

    def release(self) -> None:
        """Give all locks back."""
        for claim in self._held.values():
            if self._loop is not None:
                self._loop.remove_reader(claim)
            claim.close()
        self._held.clear()


def _described(claimant: Claimant) -> str:
    command, _, rest = claimant.words.partition("\n")
    told, _, progress = rest.partition("\n")
    since = 0.0
    with contextlib.suppress(ValueError):
        since = float(told)
    user = name_of(claimant.uid)
    words = str(Holder(user, sanitise(command, LONGEST) or UNKNOWN, claimant.pid, since))
    return f"{words}, {sanitise(progress, LONGEST)}" if progress else words


def _program_of(pid: int) -> str:
    """Return what a process that was stopped, or is busy, is called."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return UNKNOWN
    return sanitise(name)


@contextlib.asynccontextmanager
async def hold(
    state_dir: str | Path, command: str, nodes: Sequence[str], wait_s: float
) -> AsyncIterator[Locks]:
    """Hold the locks of all the nodes; wait for them for at most `wait_s` seconds.

    Raises GatewayError, which says who has one.
    """
    locks = Locks(state_dir, command)
    try:
        await asyncio.to_thread(locks.prepare)
    except OSError as error:
        raise GatewayError(
            f"{state_dir}: cannot keep locks there: {why(error)};"
            f" as root: mkdir -m 1777 {state_dir}, or set state_dir in [testbed]"
        ) from error
    started = time.monotonic()
    while (taken := locks.take(nodes)) is not None:
        holder, is_told = await asyncio.to_thread(locks.who_has, taken)
        if time.monotonic() - started >= max(wait_s, 0.0 if is_told else INTRODUCTION_S):
            raise GatewayError(f"{taken} is taken by {holder}: nothing was touched")
        await asyncio.sleep(LOOK_AGAIN_S if is_told else LOOK_AGAIN_S / 10)
    try:
        locks.answer()
        yield locks
    finally:
        locks.release()
