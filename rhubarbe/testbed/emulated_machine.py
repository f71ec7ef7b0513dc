"""One emulated machine: its power, what it boots, and the service that it then runs."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rhubarbe.annexe.errors import AnnexeError
from rhubarbe.testbed import boot
from rhubarbe.testbed.addresses import Ports
from rhubarbe.testbed.boot import Found, Key, MachineState
from rhubarbe.testbed.disk import DiskFile
from rhubarbe.testbed.faults import Faults

# How long a system takes to shut down.
SHUTDOWN_S = 0.3


class Service(Protocol):
    """What a machine runs once it has booted."""

    async def open(self) -> None:
        """Serve from now on; raises OSError or AnnexeError."""

    def abort(self) -> None:
        """Stop at once, as if power were lost."""


class Services(Protocol):
    """What a machine can run."""

    def ramdisk(self, drops: Callable[[], bool]) -> Service:
        """Make the shell of the ramdisk; `drops` tells whether a session is cut now."""

    def system(self, disk: DiskFile, halt: Callable[[], None]) -> Service:
        """Make the system on a disk; it calls `halt` when it shuts down."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a machine is made of and plugged into."""

    name: str
    mac: str
    address: str
    ports: Ports
    disk: DiskFile
    other_disk: DiskFile  # which it boots by mistake
    boot_entries: Path  # the pxelinux.cfg directory
    network_first: bool  # else from the disk, unless it is told to boot from the network once
    services: Services
    boot_time: float
    slow_boot: float  # how many times longer a slow boot takes


class EmulatedMachine:
    """A machine that a power card switches; `tasks` runs what goes on in it."""

    def __init__(
        self,
        hardware: Hardware,
        faults: Faults,
        tasks: asyncio.TaskGroup,
        log: Callable[[str], None],
    ) -> None:
        self.name = hardware.name
        self.hardware = hardware
        self.faults = faults
        self.state = MachineState.OFF
        self.settled = asyncio.Event()  # set whenever the machine is not booting
        self.network_once = False
        self._tasks = tasks
        self._log = log
        self._booting: asyncio.Task[None] | None = None
        self._service: Service | None = None

    @property
    def has_power(self) -> bool:
        """What an honest power card says."""
        return self.state.has_power

    def power_up(self) -> None:
        """Boot for the first time, before the testbed serves: no fault happens yet."""
        self.state = boot.after_key(self.state, Key.ON)
        self.settled.clear()
        self._booting = self._tasks.create_task(self._boot(Faults()))

    def press(self, key: Key) -> None:
        """Switch as the power card does; whatever ran is over when this returns."""
        if not boot.restarts(self.state, key):
            return
        self.state = boot.after_key(self.state, key)
        self.stop()
        if self.state is MachineState.BOOTING:
            self.settled.clear()
            self._booting = self._tasks.create_task(self._boot(self.faults))

    def stop(self) -> None:
        """Lose power: no boot goes on, nothing listens, no process is left."""
        if self._booting is not None:
            self._booting.cancel()
        if self._service is not None:
            self._service.abort()
        self._booting = self._service = None
        self.settled.set()

    async def _boot(self, faults: Faults) -> None:
        longer = self.hardware.slow_boot if faults.take("slow-boot") else 1
        jitter = random.uniform(0.9, 1.1)  # noqa: S311
        await asyncio.sleep(self.hardware.boot_time * longer * jitter)
        found = Found.NOTHING if faults.take("never-returns") else await self._look()
        try:
            await self._start(found, faults)
        except (OSError, AnnexeError) as error:  # a port is taken, or no descriptor is left
            self._log(f"{self.name} cannot serve: {error}")
            found = Found.NOTHING
        self.state = boot.AFTER_BOOT[found]
        self._log(f"{self.name} boots {found}")
        self.settled.set()

    async def _look(self) -> Found:
        """Look at the network first, then at the disk; or at the disk only."""
        entries = self.hardware.boot_entries
        by_network, self.network_once = self.hardware.network_first or self.network_once, False
        names = (boot.link_name(self.hardware.mac), boot.address_name(self.hardware.address))
        links = [entries / name for name in names] if by_network else []
        link = next(filter(Path.is_symlink, links), None)
        target = str(link.readlink()) if link is not None else None
        if boot.reaches_entry(target, lambda name: (entries / name).is_file()):
            return boot.boot_order(entry=True, disk_boots=False)
        return boot.boot_order(entry=False, disk_boots=await self.hardware.disk.boots())

    async def _start(self, found: Found, faults: Faults) -> None:
        hardware = self.hardware
        if found is Found.RAMDISK:
            self._service = hardware.services.ramdisk(self._drops)
            await self._service.open()
        elif found is Found.DISK:
            disk = hardware.other_disk if faults.take("other-disk") else hardware.disk
            self._service = hardware.services.system(disk, self._halt)
            await self._service.open()

    def _halt(self) -> None:
        """Let the system that runs shut down, which takes it a moment."""
        self._tasks.create_task(self._shut_down(self._service))

    async def _shut_down(self, running: Service | None) -> None:
        await asyncio.sleep(SHUTDOWN_S)
        if self._service is running:
            self._log(f"{self.name} shuts down")
            self.press(Key.OFF)

    def _drops(self) -> bool:
        if not self.faults.take("telnet-drops"):
            return False
        self._log(f"{self.name} meets telnet-drops")
        return True
