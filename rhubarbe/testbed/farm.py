"""A testbed of N machines in one directory: controls, files, power; of which kind, is given."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime
from typing import Protocol, Self

from rhubarbe.testbed import boot, configuration
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names, Sections
from rhubarbe.testbed.controls.base import Powered, Switch
from rhubarbe.testbed.controls.panel import Panel
from rhubarbe.testbed.emulated import Emulated
from rhubarbe.testbed.faults import by_node
from rhubarbe.testbed.ground import occupy
from rhubarbe.testbed.site import Plan, Site

ENTERED = 0o755
RAMDISK = "pxefrisbee"  # the entry that boots it
FOR_ALL = 0o1777
ENTRY = "# An emulated node looks only whether its link leads here.\n"
MADE_ANEW = ("pxelinux.cfg", "grub", "ipxe", "disks", "nodes", "ramdisk", "run", "serial")
NEEDED = ("pxelinux.cfg", "grub", "ipxe", "disks", "nodes", "run", "images", "state")


class Machine(Powered, Protocol):
    """What the farm needs of a machine."""

    settled: asyncio.Event  # set whenever the machine is not booting

    def power_up(self) -> None:
        """Boot for the first time, before the testbed serves: no fault happens yet."""

    def stop(self) -> None:
        """Lose power; tasks given to the machine end by themselves then."""


class MachineKind(Protocol):
    """What the machines of a testbed are; called in this order, in a directory that is laid out."""

    noun: str  # what a user calls several of them

    def check(self, plan: Plan) -> None:
        """Raise TestbedError for what cannot be done, or not on this machine."""

    async def furnish(self, site: Site) -> None:
        """Make the key, the ramdisk, the sample image, and a disk for each machine."""

    def network(self, site: Site) -> AbstractAsyncContextManager[Addresses]:
        """Hold the network, from now on."""

    def settings(self, site: Site) -> Sections:
        """Tell what the suite must be configured with, by section."""

    def machine(
        self, site: Site, names: Names, addresses: Addresses, tasks: asyncio.TaskGroup
    ) -> Machine:
        """Make one machine, without power; `tasks` runs what goes on in it."""


class Farm:
    """A running testbed.

    Enter it, and every machine is up on its old system; leave it, and nothing of it runs any more.
    Its directory is left as it is.
    """

    def __init__(self, plan: Plan, kind: MachineKind | None = None) -> None:
        self.plan = plan
        self.kind: MachineKind = kind or Emulated()
        self.directory = plan.directory.absolute()
        self.machines: dict[str, Machine] = {}
        names = plan.names()
        faults = by_node(plan.faults, [name.node for name in names])
        self.site = Site(plan, self.directory, names, faults, self.log)
        self._panel = Panel(plan)
        self._ends = AsyncExitStack()
        self._log_file = -1

    async def __aenter__(self) -> Self:
        """Start it; raises TestbedError, and nothing is left running then."""
        try:
            await self._start()
        except BaseException:
            await self._ends.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ends.aclose()

    def log(self, text: str) -> None:
        """Write one line into the testbed's log."""
        now = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        os.write(self._log_file, f"{now} {text}\n".encode())

    async def _start(self) -> None:
        self.kind.check(self.plan)
        self._panel.check()
        self._occupy()
        self._lay_out()
        await self.kind.furnish(self.site)
        addresses = await self._ends.enter_async_context(self.kind.network(self.site))
        self._serve_ramdisk(addresses)
        self._describe(addresses, await self._panel.furnish(self.site, addresses))
        await self._switch_on(addresses)
        self.log(f"testbed {addresses} serves")

    def _occupy(self) -> None:
        """Make the directory ours for as long as we run."""
        self._log_file = occupy(self.directory)
        self._ends.callback(os.close, self._log_file)

    def _lay_out(self) -> None:
        """Directories; what an earlier run left of them is made anew, save images."""
        for name in MADE_ANEW:
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for name in NEEDED:
            (self.directory / name).mkdir(mode=0o755, exist_ok=True)
        for entries in (self.site.boot_entries, self.site.grub_entries):
            entries.chmod(ENTERED)  # whatever our umask: by whoever serves it
            (entries / RAMDISK).write_text(ENTRY)
        self.site.ipxe_entries.chmod(ENTERED)
        if os.getuid() == 0:
            (self.directory / "state").chmod(FOR_ALL)
        default = self.site.images / "default.ndz"
        default.unlink(missing_ok=True)
        default.symlink_to(self.site.sample.name)

    def _serve_ramdisk(self, addresses: Addresses) -> None:
        """Have those boot it who come only when they are told to."""
        for number in self.plan.numbers:
            if not self.plan.boots_network_first(number):
                name = boot.address_name(addresses.control(number))
                (self.site.boot_entries / name).symlink_to(RAMDISK)

    def _describe(self, addresses: Addresses, power: Mapping[int, object]) -> None:
        """Write the files that tell the suite about all this."""
        netboot = {
            number: {"kind": self.plan.netboot}
            for number in self.plan.numbers
            if not self.plan.boots_network_first(number)
        }
        inventory = configuration.inventory(self.site.names, addresses, power, netboot)
        (self.directory / "inventory.json").write_text(inventory)
        common = configuration.common(self.site.directory, _folded(self.plan.numbers), addresses)
        text = configuration.configuration(common, self.kind.settings(self.site))
        written = self.directory / "rhubarbe.conf"
        written.write_text(text)
        written.chmod(0o644)  # whatever our umask: one that others can write is refused

    async def _switch_on(self, addresses: Addresses) -> None:
        """Serve the controls first, then the machines; returns when each has settled."""
        tasks = await self._ends.enter_async_context(asyncio.TaskGroup())
        switches = []
        for names in self.site.names:
            machine = self.kind.machine(self.site, names, addresses, tasks)
            self.machines[names.node] = machine
            self._ends.callback(machine.stop)
            address = addresses.card(names.number)
            switches.append(Switch(names, address, machine, self.log))
        serving = self._panel.serving(self.site, addresses, switches)
        await self._ends.enter_async_context(serving)
        for machine in self.machines.values():
            machine.power_up()
        for machine in self.machines.values():
            await machine.settled.wait()


def _folded(numbers: Sequence[int]) -> str:
    """Write numbers as `1-3,7`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
