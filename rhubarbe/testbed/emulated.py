"""Machines that are emulated in this process, each on a loopback address of its own."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from rhubarbe.testbed import configuration, keys, node_programs, programs, sample, sysfs
from rhubarbe.testbed.addresses import Addresses, Network, Ports
from rhubarbe.testbed.configuration import Names, Sections
from rhubarbe.testbed.disk import DiskFile
from rhubarbe.testbed.emulated_machine import EmulatedMachine, Hardware, Service, Services
from rhubarbe.testbed.errors import NoRoom
from rhubarbe.testbed.faults import OF_PROGRAMS
from rhubarbe.testbed.ramdisk_ssh import Lock, RamdiskSsh
from rhubarbe.testbed.shell import Bash, TelnetService
from rhubarbe.testbed.site import Plan, Site
from rhubarbe.testbed.system import EmulatedSystem
from rhubarbe.testbed.system_ssh import SystemSsh
from rhubarbe.testbed.way import Way

READERS = 4  # programs that read disks at once
FAIL_BEYOND = 12 * sample.MIB


@dataclass(frozen=True, slots=True)
class LoopbackServices:
    """Telnet and ssh of one machine, served by this process."""

    address: str
    ports: Ports
    bash: Bash
    host_key: asyncssh.SSHKey
    tasks: asyncio.TaskGroup
    authorized: Path | None  # who is let into the ramdisk, by ssh; None where it is by telnet
    way: Way | None

    def ramdisk(self, drops: Callable[[], bool]) -> Service:
        """Make the shell of the ramdisk."""
        if self.authorized is not None:
            lock = Lock(self.host_key, self.authorized)
            place = (self.address, self.ports.ssh)
            return RamdiskSsh(place, self.bash, lock, self.tasks, drops)
        place = (self.address, self.ports.telnet)
        return TelnetService(place, self.bash, self.tasks, drops)

    def system(self, disk: DiskFile, halt: Callable[[], None]) -> SystemSsh:
        """Make the system on a disk."""
        place = (self.address, self.ports.ssh)
        return SystemSsh(place, EmulatedSystem(disk, halt, way=self.way), self.host_key)


class Emulated:
    """Emulated machines: small real systems on their disks, real programs on their ramdisk."""

    noun = "nodes"

    def __init__(self) -> None:
        self._readers = asyncio.Semaphore(READERS)
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")

    def check(self, plan: Plan) -> None:
        """Find nothing wrong: what is missing is told when it is needed."""

    async def furnish(self, site: Site) -> None:
        """Make the key, the ramdisk, the sample image, and an old system on every disk."""
        _require_programs_can_run(site.directory)
        for names in site.names:
            _furnish_home(site, names.node)
        node_programs.write(site.directory / "ramdisk", fail_beyond=FAIL_BEYOND)
        authorized_keys = keys.write_pair(site.key)
        recipe = sample.sample(site.plan.sample_mib)
        if not _given_image(site):
            await _sample_image(site, recipe, authorized_keys)
        old_system = site.run / "old.img"
        with tempfile.TemporaryDirectory(dir=site.run) as workroom:
            old = sample.old(recipe.disk)
            await sample.build(old, old_system, Path(workroom), authorized_keys)
        await sample.to_the_end(_copy_disks, site, old_system)
        for names in site.names:
            disk = site.disk(names.node)
            sysfs.show_disk(site.home(names.node), "sda", disk.stat().st_size, names.number)

    @asynccontextmanager
    async def network(self, site: Site) -> AsyncIterator[Addresses]:
        """Claim a network of the loopback."""
        network = Network.claim()
        try:
            yield network
        finally:
            network.close()

    def settings(self, site: Site) -> Sections:
        """Tell the names of disks, and the limits of time."""
        root_offset = sample.PARTITION_SECTOR * sample.SECTOR
        return configuration.quick(site.plan.boot_time, root_offset, site.plan.ramdisk_shell)

    def machine(
        self, site: Site, names: Names, addresses: Addresses, tasks: asyncio.TaskGroup
    ) -> EmulatedMachine:
        """Make one machine, without power."""
        directory = site.directory.resolve()
        hardware = Hardware(
            name=names.node,
            mac=addresses.mac(names.number, 1),
            address=addresses.control(names.number),
            ports=addresses.ports,
            disk=DiskFile(directory / "disks" / f"{names.node}.img", self._readers),
            other_disk=DiskFile(directory / "run" / "old.img", self._readers),
            boot_entries=directory / "pxelinux.cfg",
            network_first=site.plan.boots_network_first(names.number),
            services=self.services(site, names, addresses, tasks),
            boot_time=site.plan.boot_time,
            slow_boot=site.plan.slow_boot,
        )
        return EmulatedMachine(hardware, site.faults[names.node], tasks, site.log)

    def services(
        self, site: Site, names: Names, addresses: Addresses, tasks: asyncio.TaskGroup
    ) -> Services:
        """Make what serves on one machine."""
        address = addresses.control(names.number)
        bash = shell(site, names.node, address)
        authorized = site.key.with_suffix(".pub") if site.plan.ramdisk_shell == "ssh" else None
        return LoopbackServices(
            address=address,
            ports=addresses.ports,
            bash=bash,
            host_key=self._host_key,
            tasks=tasks,
            authorized=authorized,
            way=way_of(site, names),
        )


def way_of(site: Site, names: Names) -> Way | None:
    """Return how what runs on a node has it switched; None where something else does that."""
    if not site.plan.switches_itself(names.number):
        return None
    return Way(site.way_of_nodes, names.node)


def shell(site: Site, node: str, address: str) -> Bash:
    """Tell how the shell of a node's ramdisk is started."""
    directory = site.directory.resolve()
    home = directory / "nodes" / node
    environment = {
        "PATH": str(directory / "ramdisk" / "bin"),
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "NODE": node,
        "NODE_IP": address,
        "NODE_DIR": str(home),
        "NODE_DISK": str(directory / "disks" / f"{node}.img"),
    }
    return Bash(programs.find("bash"), directory / "ramdisk" / "profile", home, environment)


def _require_programs_can_run(directory: Path) -> None:
    """Refuse a file system that is mounted so that no program on it can run, as /tmp often is."""
    if os.statvfs(directory).f_flag & os.ST_NOEXEC:
        raise NoRoom(
            f"{directory}: no program can be run there, and the ramdisk's are to be (noexec):"
            " name another --directory, or $TMPDIR"
        )


def _furnish_home(site: Site, node: str) -> None:
    """Make the directory that is the node's current one, with its disk under the usual name."""
    home, faults = site.home(node), site.faults[node]
    for name in ("dev", "tmp", ".faults"):
        (home / name).mkdir(parents=True)
    (home / ".mounts").write_text("rootfs / rootfs rw 0 0\n")
    (home / "dev" / "sda").symlink_to(f"../../../disks/{node}.img")
    for fault in OF_PROGRAMS:
        if faults.has(fault):
            (home / ".faults" / fault).write_text(faults.left(fault) + "\n")


def _given_image(site: Site) -> bool:
    site.sample.unlink(missing_ok=True)
    if site.plan.image is not None:
        site.sample.symlink_to(site.plan.image.resolve(strict=True))
    return site.plan.image is not None


async def _sample_image(site: Site, recipe: sample.SampleRecipe, authorized_keys: str) -> None:
    disk = site.run / "sample.img"
    with tempfile.TemporaryDirectory(dir=site.run) as workroom:
        await sample.build(recipe, disk, Path(workroom), authorized_keys)
    imagezip = programs.python_program("rhubarbe.imaging.imagezip", "imagezip")
    await programs.run([*imagezip, "-o", "-z1", str(disk), str(site.sample)], limit=300)


def _copy_disks(site: Site, old_system: Path) -> None:
    for names in site.names:
        disk = site.disk(names.node)
        sample.copy_sparsely(old_system, disk)
        if site.faults[names.node].has("disk-small"):
            os.truncate(disk, FAIL_BEYOND)
