"""One emulated machine: its power, what it boots, and the service that it then runs."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from rhubarbe.testbed import boot
from rhubarbe.testbed.addresses import Ports
from rhubarbe.testbed.boot import Found, Key, State
from rhubarbe.testbed.disk import Disk
from rhubarbe.testbed.faults import Faults
from rhubarbe.testbed.shell import Bash, TelnetService
from rhubarbe.testbed.system import SshService, System

# Seconds that a system takes to shut down.
SHUTDOWN = 0.3


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a machine is made of and plugged into."""

    name: str
    mac: str
    address: str
    ports: Ports
    disk: Disk
    other_disk: Disk  # which it boots by mistake
    boot_entries: Path  # the pxelinux.cfg directory
    bash: Bash
    host_key: asyncssh.SSHKey
    boot_time: float
    slow_boot: float  # how many times longer a slow boot takes


class Machine:
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
        self.state = State.OFF
        self.settled = asyncio.Event()  # set whenever the machine is not booting
        self._tasks = tasks
        self._log = log
        self._booting: asyncio.Task[None] | None = None
        self._service: TelnetService | SshService | None = None

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
        if self.state is State.BOOTING:
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
        except OSError as error:  # its port is taken, or no descriptor is left on this machine
            self._log(f"{self.name} cannot serve: {error}")
            found = Found.NOTHING
        self.state = boot.AFTER_BOOT[found]
        self._log(f"{self.name} boots {found}")
        self.settled.set()

    async def _look(self) -> Found:
        """Look at the network first, then at the disk."""
        entries = self.hardware.boot_entries
        link = entries / boot.link_name(self.hardware.mac)
        target = str(link.readlink()) if link.is_symlink() else None
        if boot.reaches_entry(target, lambda name: (entries / name).is_file()):
            return boot.boot_order(entry=True, disk_boots=False)
        return boot.boot_order(entry=False, disk_boots=await self.hardware.disk.boots())

    async def _start(self, found: Found, faults: Faults) -> None:
        hardware = self.hardware
        if found is Found.RAMDISK:
            telnet = TelnetService(hardware.bash, self._tasks, self._drops)
            self._service = telnet
            await telnet.open(hardware.address, hardware.ports.telnet)
        elif found is Found.DISK:
            disk = hardware.other_disk if faults.take("other-disk") else hardware.disk
            ssh = SshService(System(disk, self._halt), hardware.host_key)
            self._service = ssh
            await ssh.open(hardware.address, hardware.ports.ssh)

    def _halt(self) -> None:
        """Let the system that runs shut down, which takes it a moment."""
        self._tasks.create_task(self._shut_down(self._service))

    async def _shut_down(self, running: TelnetService | SshService | None) -> None:
        await asyncio.sleep(SHUTDOWN)
        if self._service is running:
            self._log(f"{self.name} shuts down")
            self.press(Key.OFF)

    def _drops(self) -> bool:
        if not self.faults.take("telnet-drops"):
            return False
        self._log(f"{self.name} meets telnet-drops")
        return True
