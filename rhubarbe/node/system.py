"""A node's own system, over ssh: whether it is up, what it is, and how it is told to shut down."""

from collections.abc import Awaitable, Callable

from rhubarbe import dialogue
from rhubarbe.config import Settings
from rhubarbe.errors import CommandFailed, Refused, Unreachable
from rhubarbe.inventory import Entry
from rhubarbe.node.doors import LOOK, Doors
from rhubarbe.node.steps import Steps
from rhubarbe.node.tries import backoff, happens

ROOT = "root"
# Seconds that a node may take to let us in for a soft shutdown.
LETS_IN_S = 10.0
# On a gateway that is busy with many nodes the first tries are too short: later ones are longer.
LONGER = 1.5
LONGEST = 30.0


class System:
    """The system on a node's disk, where a user logs in by ssh."""

    def __init__(self, entry: Entry, settings: Settings, doors: Doors, steps: Steps) -> None:
        self._entry = entry
        self._networking = settings.networking
        self._limits = settings.nodes
        self._doors = doors
        self._steps = steps

    async def is_up(self, limit_s: float = LOOK) -> bool:
        """Tell whether something accepts connections on the ssh port."""
        return await self._doors.accepts(self._entry, self._networking.ssh_port, limit_s)

    async def log_in(self, limit_s: float, user: str = ROOT) -> str:
        """Log in and out; return what the server calls itself; raises Refused, Unreachable."""
        return await self._doors.system(self._entry, user).log_in(limit_s)

    async def ask(self, limit_s: float, command: str, user: str = ROOT) -> str:
        """Run a command there, and return what it writes; raises NodeError."""
        return await self._doors.system(self._entry, user).ask(limit_s, command)

    async def stamps(self, limit_s: float, user: str = ROOT) -> str | None:
        """Return the stamps of the image that it was loaded with; None where it has none."""
        try:
            return await self.ask(limit_s, f"cat {dialogue.STAMP_FILE}", user)
        except CommandFailed:
            return None

    async def uptime(self, limit_s: float) -> float:
        """Return for how many seconds it is up; raises NodeError."""
        answer = await self.ask(limit_s, "cat /proc/uptime")
        try:
            return float(answer.split()[0])
        except (ValueError, IndexError) as error:
            raise CommandFailed(f"/proc/uptime over ssh reads {answer[:40]!r}") from error

    async def root_disk(self, limit_s: float) -> str:
        """Return what it tells of the disk that it runs from, empty where it does not."""
        try:
            return await self.ask(limit_s, dialogue.ROOT_DISK)
        except CommandFailed:
            return ""

    async def insist(self, attempt: Callable[[float], Awaitable[None]], mean: float) -> None:
        """Try until it works, about every `mean` seconds; later tries may take longer.

        An attempt is told how many seconds it has, and raises Unreachable for what may get better.
        """
        limit_s = self._networking.ssh_timeout
        async for _ in backoff(mean):
            try:
                # Nodes that are still away must not keep the others from their turns.
                await self._require_listener(limit_s)
                async with self._doors.sessions:
                    await attempt(limit_s)
            except Unreachable as error:
                self._steps.last_line = str(error)
                self._steps.note(self._steps.last_line)
                limit_s = min(LONGEST, limit_s * LONGER)
            else:
                return

    async def _require_listener(self, limit_s: float) -> None:
        if not await self.is_up(limit_s):
            raise Unreachable("nothing listens on the ssh port yet")

    async def look(self, limit_s: float) -> str | None:
        """Return the stamps in our turn, as `stamps` does; raises NodeError."""
        async with self._doors.sessions:
            return await self.stamps(limit_s)

    async def shut_down(self, is_done: Callable[[], Awaitable[bool]]) -> str:
        """Have it shut down until that is done; return why it is not, empty where it is."""
        if not await self.is_up():
            return "no answer on ssh"
        try:
            await self.ask(LETS_IN_S, "shutdown -h now")
        except (Refused, CommandFailed) as error:
            return str(error)
        except Unreachable as error:  # perhaps since it is shutting down
            self._steps.note(f"shutdown: {error}")
        limit_s = self._limits.soft_off_timeout
        if not await happens(is_done, limit_s, self._limits.probe_interval):
            return f"not done in {limit_s:g} s"
        return ""
