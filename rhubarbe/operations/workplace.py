"""What load, save and rescue have in common: they bring nodes into the ramdisk, under guard."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from re import Pattern

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.config.settings import RamdiskShell
from rhubarbe.errors import GatewayError, why
from rhubarbe.events import Phase, Progress
from rhubarbe.gateway.checks.places import dangers, link_faults, state_faults
from rhubarbe.gateway.processes.guardian import Guardian
from rhubarbe.gateway.state.journal import Journal
from rhubarbe.gateway.state.locks import Locks
from rhubarbe.node import Node
from rhubarbe.node.keys import require_files, require_key
from rhubarbe.node.kinds import asking, link_places
from rhubarbe.operations.command import Command
from rhubarbe.operations.fleet import Companion, Job
from rhubarbe.shared.trust import Distrust

# Seconds between two reports of progress to the locks.
TOLD_EVERY_S = 2.0
# Seconds; a sweep that is given up still holds the lock of the node whose link it removes.
SWEPT_WITHIN_S = 10.0
TRIED_WITHIN_S = 10.0


async def sweep(command: Command) -> Journal:
    """Remove the links that commands left behind which ended without a chance to do it.

    What they have asked nodes' controllers for is ended likewise. Tell where anybody could make
    links that nodes would boot by. Return the journal of the command.
    """
    journal = Journal(command.state_dir, command.name, command.limit)
    for directory, names in link_places(command.entries, command.settings):
        for words in await _swept(journal, directory, names):
            command.notice(words)
    ends = {name: netboot.end for name, netboot in asking(command.entries, command.settings)}
    if ends:
        for words in await journal.end_requests(ends):
            command.notice(words)
    return journal


async def _swept(journal: Journal, directory: Path, names: Pattern[str]) -> list[str]:
    def said() -> list[str]:
        return [*journal.sweep(directory, names), *dangers(directory)]

    try:
        return await in_passing(SWEPT_WITHIN_S, said)
    except TimeoutError as error:
        return [f"{directory}: {error}: links left behind are not looked for"]


@dataclass(frozen=True, slots=True)
class Workplace:
    """The nodes of a command, with all that must be there before they are touched."""

    command: Command
    nodes: Sequence[Node]
    guardian: Guardian
    journal: Journal
    locks: Locks
    resets: bool

    async def run(
        self, job: Job, companions: Iterable[Companion] = (), *, retries: int = 0, image: str = ""
    ) -> None:
        """Run the job on each node, which ends the command: see `Command.run`."""
        beside = [self.guardian.watch, *companions]
        await self.command.run(self.nodes, job, beside, retries=retries, image=image)

    async def tell_progress(self) -> None:
        """Tell in the locks how far the command is, for others to see; run until cancelled."""
        percents = dict.fromkeys((node.name for node in self.nodes), 0.0)
        told = 0.0
        async for event in self.command.bus.subscribe():
            if isinstance(event, Progress):
                percents[event.node] = event.percent
                if time.monotonic() - told >= TOLD_EVERY_S:
                    told = time.monotonic()
                    mean = sum(percents.values()) / len(percents)
                    self.locks.tell(f"{mean:.0f} % of the image")

    async def into_ramdisk(self, node: Node, *, stays: bool = False) -> None:
        """Return once the node's ramdisk answers and the link is gone; raises NodeError.

        A node that is not to be reset is expected to be there already. Where it `stays` in the
        ramdisk, the link stays too.
        """
        if not self.resets:
            await node.ramdisk.wait()
            return
        async with contextlib.AsyncExitStack() as guarded:
            for number, link in enumerate(node.next_boot.links):
                await guarded.enter_async_context(
                    self.journal.recorded(node.name, link.path, link.entry, number)
                )
                guarded.enter_context(self.guardian.guarding_link(link.path, link.entry))
            if node.next_boot.asks:
                await guarded.enter_async_context(
                    self.journal.recorded_request(node.name, lambda: node.next_boot.is_over)
                )
            await guarded.enter_async_context(node.linked(stays=stays))
            await node.power.reboot(Phase.RESET)
            await node.ramdisk.wait()


@contextlib.asynccontextmanager
async def workplace(
    command: Command, *, resets: bool, lock_wait_s: float
) -> AsyncIterator[Workplace]:
    """Lock the nodes, waiting for other commands `lock_wait_s` seconds, and start the guardian.

    Links that others left behind are swept first.
    Raises GatewayError, or ConfigError, before anything is touched.
    """
    settings = command.settings
    await require_files(settings.networking)
    journal = await sweep(command)
    async with command.locked(lock_wait_s) as locks, Guardian() as guardian:
        nodes = command.nodes()
        if any(node.settings.nodes.ramdisk_shell is RamdiskShell.SSH for node in nodes):
            await require_key(settings, command.bus)
        if resets:
            for node in nodes:
                await node.next_boot.require_entries()
            await _require_rights(nodes, journal, command.state_dir)
        yield Workplace(command, nodes, guardian, journal, locks, resets)


async def _require_rights(nodes: Sequence[Node], journal: Journal, state_dir: Path) -> None:
    """Note a link, and make links, without any effect: raises GatewayError where that cannot be.

    Else each node would be blamed for what this machine lacks.
    """
    try:
        await in_passing(TRIED_WITHIN_S, journal.try_out)
    except OSError as error:
        raise await _refusal("noted", error, state_dir, state_faults) from error
    for link in (link for node in nodes for link in node.next_boot.links):
        faults = partial(link_faults, said_by=link.said_by)
        try:
            await in_passing(TRIED_WITHIN_S, link.try_out)
        except OSError as error:
            raise await _refusal("made", error, link.path.parent, faults) from error


async def _refusal(
    what: str, error: OSError, place: Path, faults: Callable[[Path], list[str]]
) -> GatewayError:
    """Return the error that tells why, with the cure where one is known."""
    said = f"{place}: {why(error)}"
    if isinstance(error, Distrust):
        said = str(error)
    elif not isinstance(error, TimeoutError):
        said = next(iter(await asyncio.to_thread(faults, place)), said)
    return GatewayError(f"no nextboot link can be {what}, and nothing was touched: {said}")
