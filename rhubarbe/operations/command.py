"""One command on nodes, from its first event to its last: what all the verbs have in common.

A verb begins, asks for the lease, checks whatever else it needs, locks its nodes, and runs one job
a node. However that ends, it is noted in the history, and `Finished` is the last event on the bus.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.bus import Bus
from rhubarbe.concurrency.threads import in_passing
from rhubarbe.config import Settings
from rhubarbe.errors import GatewayError
from rhubarbe.events import Notice, Started
from rhubarbe.gateway.services.addresses import local_address_towards
from rhubarbe.gateway.state.history import History, Run
from rhubarbe.gateway.state.locks import Locks, hold
from rhubarbe.inventory import Entry
from rhubarbe.leases import require, warn
from rhubarbe.node import Doors, Node
from rhubarbe.node.secrets import require_secrets
from rhubarbe.operations.fleet import Companion, Fleet, Job
from rhubarbe.operations.outcome import Outcome

NOTED_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Command:
    """A command by its name, on some nodes, which may take `limit` seconds for all of them."""

    name: str
    entries: Sequence[Entry]
    limit: float
    doors: Doors
    bus: Bus

    @property
    def settings(self) -> Settings:
        """The configuration."""
        return self.doors.settings

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(entry.name for entry in self.entries)

    @property
    def state_dir(self) -> Path:
        """The directory of what the users of this gateway share."""
        return self.settings.testbed.state_dir

    def begin(self) -> None:
        """Tell the bus what is about to be done, before anything else is."""
        self.bus.report(Started(command=self.name, nodes=self.names))

    def notice(self, text: str) -> None:
        """Tell the bus something that a person should read."""
        self.bus.report(Notice(text=text))

    async def require_lease(self) -> None:
        """Return if the user may touch the nodes now; raises LeaseError."""
        await require(self.settings, self.name, self.limit, self.bus)

    async def require_secrets(self) -> None:
        """Return if all secrets by which the nodes are switched are known; raises GatewayError."""
        await require_secrets(self.entries)

    async def warn_without_lease(self) -> None:
        """Tell a user who has no lease now, of a command that goes on without one."""
        await warn(self.settings, self.name, self.bus)

    def locked(self, lock_wait_s: float) -> contextlib.AbstractAsyncContextManager[Locks]:
        """Keep other commands off the nodes; wait for those there for `lock_wait_s` seconds.

        Raises GatewayError.
        """
        return hold(self.state_dir, self.name, self.names, lock_wait_s)

    def our_address(self) -> str:
        """Return the address of this machine that nodes reach us by; raises GatewayError."""
        ours = self.settings.networking.local_control_ip
        return local_address_towards(self.entries[0].control.ip, ours)

    def nodes(self) -> list[Node]:
        """Return the nodes to work on."""
        return [Node(entry, self.doors, self.bus) for entry in self.entries]

    async def run(  # noqa: PLR0913 - one argument a thing that may be said of it
        self,
        nodes: Sequence[Node],
        job: Job,
        companions: Iterable[Companion] = (),
        *,
        retries: int = 0,
        image: str = "",
        is_noted: bool = True,
        afterwards: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Run the job on each node, which ends the command: see `Fleet.run`.

        What is to be done `afterwards` tells whether that went well. The end is noted in the
        history, with the path of the image that was loaded, if one was.
        """
        fleet = Fleet(nodes, self.bus, retries=retries)
        rest_is_well = afterwards is None
        try:
            await fleet.run(job, self.limit, companions)
            if afterwards is not None:
                rest_is_well = await afterwards()
        finally:
            outcome = Outcome.of(fleet.outcome.nodes, rest_is_well=rest_is_well)
            try:
                if is_noted:
                    await self._note(outcome, fleet.elapsed, image)
            finally:
                self.bus.report(outcome.finished(self.name, fleet.elapsed))

    async def _note(self, outcome: Outcome, seconds: float, image: str) -> None:
        """Note the end in the history, which never breaks a command, nor delays it for long."""
        run = Run(
            started=time.time() - seconds,
            command=self.name,
            exit_code=outcome.exit_code,
            seconds=seconds,
            nodes=outcome.nodes,
            image=image,
        )
        try:
            await in_passing(NOTED_WITHIN_S, History(self.state_dir).add, run)
        except TimeoutError as error:
            self.notice(f"not noted in the history: its disk gives {error}")
        except GatewayError as error:
            self.notice(str(error))
