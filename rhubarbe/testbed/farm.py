"""A testbed of N emulated machines in one directory: addresses, disks, cards, generated files."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

import asyncssh

from rhubarbe.testbed import configuration, programs, ramdisk, sample
from rhubarbe.testbed.addresses import Network
from rhubarbe.testbed.cmc import Card, Cards
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.disk import Disk
from rhubarbe.testbed.errors import Misused, NoRoom
from rhubarbe.testbed.faults import OF_PROGRAMS, Fault, by_node
from rhubarbe.testbed.machine import Hardware, Machine
from rhubarbe.testbed.shell import Bash

READERS = 4  # programs that read disks at once
FAIL_BEYOND = 12 * sample.MIB
MARK = "testbed.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a testbed is to be; times in seconds, `sample_mib` in MiB of incompressible content."""

    directory: Path
    numbers: Sequence[int]
    cards: Mapping[int, int] = field(default_factory=dict)  # node -> number that its card bears
    faults: Sequence[Fault] = ()
    boot_time: float = 1.0
    slow_boot: float = 40.0  # how many times as long: beyond the limits of the configuration
    sample_mib: int = 24
    image: Path | None = None  # serve this one as the sample, instead of making it

    def names(self) -> list[Names]:
        """Name all the nodes; raises Misused for a card of a node that is not there."""
        for number in self.cards:
            if number not in self.numbers:
                raise Misused(f"fit{number:02d} has a card but is not in this testbed")
        return [Names(number, self.cards.get(number, number)) for number in self.numbers]


class Farm:
    """A running testbed.

    Enter it, and every machine is up on its old system; leave it, and nothing of it runs any more.
    Its directory is left as it is.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.directory = plan.directory.absolute()
        self.names = plan.names()
        self.machines: dict[str, Machine] = {}
        self._faults = by_node(plan.faults, [names.node for names in self.names])
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
        """One line of the testbed's diary."""
        now = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        os.write(self._log_file, f"{now} {text}\n".encode())

    async def _start(self) -> None:
        self._occupy()
        network = Network.claim()
        self._ends.callback(network.close)
        self._lay_out(network)
        key = self._keys()
        await self._images(key.export_public_key().decode())
        await self._switch_on(network)
        self.log(f"testbed 127.{network.number}.0.0/16 serves")

    def _occupy(self) -> None:
        """Make the directory ours for as long as we run."""
        self.directory.mkdir(parents=True, exist_ok=True)
        mark = self.directory / MARK
        if not mark.exists() and any(self.directory.iterdir()):
            raise NoRoom(f"{self.directory} is not empty and not a testbed's: name another")
        self._log_file = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._ends.callback(os.close, self._log_file)
        try:
            fcntl.flock(self._log_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoRoom(f"another testbed runs in {self.directory}: name another") from None
        os.ftruncate(self._log_file, 0)

    def _lay_out(self, network: Network) -> None:
        """Directories and files; what an earlier run left of them is made anew, save images."""
        for name in ("pxelinux.cfg", "disks", "nodes", "ramdisk", "run"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for name in ("pxelinux.cfg", "disks", "nodes", "run", "images", "state"):
            (self.directory / name).mkdir(exist_ok=True)
        (self.directory / "pxelinux.cfg" / "pxefrisbee").touch()
        for names in self.names:
            self._furnish(names.node)
        ramdisk.write(self.directory / "ramdisk", fail_beyond=FAIL_BEYOND)
        inventory = configuration.inventory(self.names, network)
        (self.directory / "inventory.json").write_text(inventory)
        text = configuration.configuration(
            self.directory,
            network,
            _folded(self.plan.numbers),
            sample.PARTITION_SECTOR * sample.SECTOR,
            self.plan.boot_time,
        )
        (self.directory / "rhubarbe.conf").write_text(text)

    def _furnish(self, node: str) -> None:
        """Make the directory that is the node's current one, with its disk under the usual name."""
        home = self.directory / "nodes" / node
        for name in ("dev", "tmp", ".faults"):
            (home / name).mkdir(parents=True)
        (home / "dev" / "sda").symlink_to(f"../../../disks/{node}.img")
        for fault in OF_PROGRAMS:
            if self._faults[node].has(fault):
                (home / ".faults" / fault).write_text(self._faults[node].left(fault) + "\n")

    def _keys(self) -> asyncssh.SSHKey:
        """Make the key that opens every system, in files as ssh-keygen writes them."""
        key = asyncssh.generate_private_key("ssh-ed25519", comment="rhubarbe-testbed")
        private = self.directory / "id_ed25519"
        private.touch(mode=0o600)
        key.write_private_key(private)
        key.write_public_key(self.directory / "id_ed25519.pub")
        return key

    async def _images(self, authorized_keys: str) -> None:
        """Make the sample image, and put an old system on every disk."""
        images, run = self.directory / "images", self.directory / "run"
        recipe = sample.sample(self.plan.sample_mib)
        old_system = run / "old.img"
        if not self._given_image(images / "sample.ndz"):
            await self._sample_image(recipe, images / "sample.ndz", authorized_keys)
        with tempfile.TemporaryDirectory(dir=run) as workroom:
            old = sample.old(recipe.disk)
            await sample.build(old, old_system, Path(workroom), authorized_keys)
        await sample.to_the_end(self._copy_disks, old_system)
        default = images / "default.ndz"
        default.unlink(missing_ok=True)
        default.symlink_to("sample.ndz")

    def _given_image(self, image: Path) -> bool:
        image.unlink(missing_ok=True)
        if self.plan.image is not None:
            image.symlink_to(self.plan.image.resolve(strict=True))
        return self.plan.image is not None

    async def _sample_image(self, recipe: sample.Recipe, image: Path, keys: str) -> None:
        disk = self.directory / "run" / "sample.img"
        with tempfile.TemporaryDirectory(dir=self.directory / "run") as workroom:
            await sample.build(recipe, disk, Path(workroom), keys)
        imagezip = programs.python_program("rhubarbe.imaging.imagezip", "imagezip")
        await programs.run([*imagezip, "-o", "-z1", str(disk), str(image)], limit=300)

    def _copy_disks(self, old_system: Path) -> None:
        for names in self.names:
            disk = self.directory / "disks" / f"{names.node}.img"
            sample.copy_sparsely(old_system, disk)
            if self._faults[names.node].has("disk-small"):
                os.truncate(disk, FAIL_BEYOND)

    async def _switch_on(self, network: Network) -> None:
        """Cards first, then the machines; returns when each is up, or will never be."""
        tasks = await self._ends.enter_async_context(asyncio.TaskGroup())
        readers = asyncio.Semaphore(READERS)
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        cards = {}
        for names in self.names:
            hardware = self._hardware(names, network, readers, host_key)
            machine = Machine(hardware, self._faults[names.node], tasks, self.log)
            self.machines[names.node] = machine
            self._ends.callback(machine.stop)
            cards[network.card(names.number)] = Card(names.card, machine, self.log)
        await self._ends.enter_async_context(Cards(cards, network.ports.cmc))
        for machine in self.machines.values():
            machine.power_up()
        for machine in self.machines.values():
            await machine.settled.wait()

    def _hardware(
        self, names: Names, network: Network, readers: asyncio.Semaphore, host_key: asyncssh.SSHKey
    ) -> Hardware:
        directory, node = self.directory.resolve(), names.node
        disk = directory / "disks" / f"{node}.img"
        home = directory / "nodes" / node
        environment = {
            "PATH": str(directory / "ramdisk" / "bin"),
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "NODE": node,
            "NODE_IP": network.control(names.number),
            "NODE_DIR": str(home),
            "NODE_DISK": str(disk),
        }
        profile = directory / "ramdisk" / "profile"
        return Hardware(
            name=node,
            mac=network.mac(names.number, 1),
            address=network.control(names.number),
            ports=network.ports,
            disk=Disk(disk, readers),
            other_disk=Disk(directory / "run" / "old.img", readers),
            boot_entries=directory / "pxelinux.cfg",
            bash=Bash(programs.find("bash"), profile, home, environment),
            host_key=host_key,
            boot_time=self.plan.boot_time,
            slow_boot=self.plan.slow_boot,
        )


def _folded(numbers: Sequence[int]) -> str:
    """Write numbers as `1-3,7`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
