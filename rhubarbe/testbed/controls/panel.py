"""All the power controls of a testbed, of as many kinds as it is to have."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from rhubarbe.annexe.errors import Misused
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import named
from rhubarbe.testbed.controls.base import ControlKind, Switch
from rhubarbe.testbed.faults import OF_WAYS_TO_CONTROLS
from rhubarbe.testbed.site import Plan, Site


class Panel:
    """Controls of several kinds, one for each machine."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kinds: dict[str, ControlKind] = {
            kind: named(kind) for kind in dict.fromkeys(map(plan.power_of, plan.numbers))
        }

    def check(self) -> None:
        """Raise MissingProgram for what is not installed, Misused for faults that cannot happen."""
        for kind in self._kinds.values():
            kind.check()
            kind.fit(self._plan)
        netboot = self._plan.netboot
        if netboot and not (netboot in self._kinds and self._kinds[netboot].sets_boot):
            raise Misused(f"--netboot {netboot} goes with --power {netboot}")
        kind_of = {names.node: self._plan.power_of(names.number) for names in self._plan.names()}
        for fault in self._plan.faults:
            kind_name = kind_of.get(fault.node, "")
            possible = self._kinds[kind_name].faults if kind_name else OF_WAYS_TO_CONTROLS
            if fault.name in OF_WAYS_TO_CONTROLS - possible:
                raise Misused(f"{fault.name} cannot be made to happen to power by {kind_name}")

    async def furnish(self, site: Site, addresses: Addresses) -> Mapping[int, object]:
        """Make what they need; tell by number what the inventory says in `power`, where it does."""
        told: dict[int, object] = {}
        for name, kind in self._kinds.items():
            ours = [names for names in site.names if self._is(name, names)]
            told |= await kind.furnish(site, addresses, ours)
        return told

    @asynccontextmanager
    async def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AsyncIterator[None]:
        """Serve the power of all machines."""
        async with AsyncExitStack() as ends:
            for name, kind in self._kinds.items():
                ours = [switch for switch in switches if self._is(name, switch.names)]
                await ends.enter_async_context(kind.serving(site, addresses, ours))
            yield

    def _is(self, kind: str, names: Names) -> bool:
        return self._plan.power_of(names.number) == kind
