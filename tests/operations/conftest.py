"""A testbed of nodes that are not there: each does what it is told, but for what a test spoils.

The gateway's side is real: links, locks, journal, guardian, history, sockets. A node boots as its
power control says, and by its link, if there is one.
"""

import asyncio
import contextlib
import dataclasses
import lzma
import re
from pathlib import Path

import pytest

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config import settings as configured
from rhubarbe.dialogue import BEGIN_MARK
from rhubarbe.dialogue.images import DISK_MARK
from rhubarbe.dialogue.session import STATUS_MARK
from rhubarbe.errors import CardError, CommandFailed, Unreachable
from rhubarbe.events import Finished, Phase
from rhubarbe.gateway.state.history import History
from rhubarbe.gateway.state.locks import hold
from rhubarbe.inventory import Entry, Interface
from rhubarbe.node import Doors, power
from rhubarbe.operations import fleet
from rhubarbe.transports.power import Inputs, PowerControl

DATA = Path(__file__).parents[1] / "data" / "ndz"
IMAGE = lzma.decompress((DATA / "d4-raw.ndz.xz").read_bytes())
DISK, DISK_SIZE = "/root/disk", 1 << 30
HANGS = object()
"""What a step does that never ends."""
SERVER = """#!/bin/sh
while [ "$1" != -A ]; do shift; done
echo 234.0.0.1:7000 > "$2"
exec sleep 600
"""


def typed(text):
    """Return the command in what was typed into a shell."""
    if text.startswith("typed="):
        pieces = re.findall(r"^typed=\$typed'(.*)'$", text, re.M)
        text = "".join(piece.replace(r"'\''", "'") for piece in pieces)
    return re.search(r"echo \S+; (.*); echo \S+\$\?; exit", text, re.S)[1]


class Control(PowerControl):
    """What switches a node, and its USRP."""

    has_usrp = True

    def __init__(self, node):
        self.name = f"reboot{node.entry.number:02}"
        self._node = node
        self.usrp = "usrpoff"
        self.says = None

    async def is_on(self):
        await self._node.step("is_on")
        await self._node.step("status")
        if self.says is not None:
            raise CardError(f"answers status with {self.says!r}, expected on or off")
        return self._node.is_on

    async def ask(self, question):
        await self._node.step(question)
        if self.says is not None:
            return self.says
        return {
            "usrpstatus": self.usrp,
            "info": f"I am {self.name}",
        }[question]

    async def send(self, order):
        phase = Phase.RESET if self._node.link.exists() else Phase.BOOT
        await self._node.step(phase if order == "reset" else order)
        self._node.orders.append(order)
        if order in self._node.ignores:
            return
        if order.startswith("usrp"):
            self.usrp = order
        else:
            self._node.restart(is_on=order != "off")


class Presence:
    """Where a node answered at a moment."""

    def __init__(self, node):
        self._node = node
        self._boots = node.boots

    def __bool__(self):
        return bool(self._node.runs)

    async def has_left(self):
        return self._node.boots != self._boots


class Session:
    """A session with a node's ramdisk."""

    def __init__(self, node):
        self._node = node
        self._command = ""

    async def send(self, text):
        self._command = typed(text)

    async def pieces(self):
        yield f"~ # {BEGIN_MARK}\n"
        status = 0
        try:
            async for line in self._node.run(self._command):
                yield f"{line}\n"
        except CommandFailed as error:
            yield f"{error}\n"
            status = 1
        yield f"{STATUS_MARK}{status}\n"


class System:
    """The ssh service of what is on a node's disk."""

    def __init__(self, node):
        self._node = node

    async def log_in(self, limit):
        await self._node.step(Phase.SSH)
        return "SSH-2.0-any"

    async def ask(self, limit, command):
        self._node.asked.append(command)
        await self._node.step(Phase.SSH)
        if command == "cat /proc/uptime":
            return f"{self._node.uptime} 0.0\n"
        if "rhubarbe-image" in command:
            return self._node.stamps
        if command.startswith("shutdown"):
            self._node.restart(is_on=False)
            return ""
        raise CommandFailed("no such file")


class PretendedNode:
    """One node; `spoilt` says of a phase, an order or a question what goes wrong in it."""

    def __init__(self, number, pxelinux):
        mac = f"02:00:00:00:00:{number:02x}"
        self.entry = Entry(
            number,
            Interface(f"fit{number:02}", f"127.77.0.{number}", mac),
            Interface(f"reboot{number:02}", f"127.77.1.{number}", ""),
            None,
        )
        self.link = pxelinux / f"01-{mac.replace(':', '-')}"
        self.control = Control(self)
        self.is_on, self.runs, self.boots = True, "disk", 0
        self.orders, self.commands, self.asked, self.ignores = [], [], [], set()
        self.written = b""
        self.stamps, self.uptime = "", 0.0
        self.version = ["frisbee: unrecognized option '--version'"]
        self.verifies = True
        self.disk_size = DISK_SIZE
        self.sends, self.comes_from = IMAGE, self.entry.control.ip
        self.spoilt = {}
        self.hangs = asyncio.Event()

    async def step(self, name):
        """Do what is spoilt there, if it is."""
        fault = self.spoilt.get(name)
        if fault is HANGS:
            self.hangs.set()
            await asyncio.Event().wait()
        elif isinstance(fault, Exception):
            raise fault
        elif fault is not None:
            fault()

    def restart(self, *, is_on):
        self.is_on = is_on
        self.boots += 1
        self.runs = ("ramdisk" if self.link.is_symlink() else "disk") if is_on else ""

    async def run(self, command):
        """Run a command in the ramdisk; yield what it says."""
        self.commands.append(command)
        if "DISKS=" in command:
            await self.step(Phase.DISK)
            yield "RHUBARBE-DISKS=root /"
            yield f"-rw-r--r-- 1 root root {self.disk_size} Jan  1 00:00 .{DISK}"
        elif "--version" in command:
            yield "\n".join(self.version)
        elif command.startswith("frisbee "):
            async for line in self._write():
                yield line
        elif "imagezip" in command:
            async for line in self._send(command):
                yield line
        elif command != "true":
            await self.step(Phase.STAMP)

    async def _write(self):
        yield "File is 4 chunks"
        yield "."
        await self.step(Phase.IMAGE)
        self.written = IMAGE
        if self.verifies:
            yield f"Verified {len(IMAGE)} bytes"

    async def _send(self, command):
        """Send what is on the disk to where `nc` is told to."""
        yield f"{DISK_MARK}{self.disk_size}"
        secret = re.search(r"printf %s (\S+)", command)[1]
        address, port = command.split()[-2:]
        _, writer = await asyncio.open_connection(
            address, int(port), local_addr=(self.comes_from, 0)
        )
        with contextlib.closing(writer):
            writer.write(secret.encode())
            await writer.drain()
            await self.step(Phase.IMAGE)
            writer.write(self.sends)
            await writer.drain()
        yield f"Image size: {len(IMAGE)} bytes"


class PretendedDoors(Doors):
    """The ways to these nodes; their links are real."""

    def __init__(self, settings, nodes):
        super().__init__(settings)
        self._nodes = {node.entry.name: node for node in nodes}

    def power(self, entry):
        return Inputs([self._nodes[entry.name].control])

    @contextlib.asynccontextmanager
    async def shell(self, entry, settings):
        yield Session(self._nodes[entry.name])

    def system(self, entry, user):
        return System(self._nodes[entry.name])

    async def accepts(self, entry, port, limit):
        node = self._nodes[entry.name]
        if port == self.settings.networking.ssh_port:
            return node.runs == "disk"
        await node.step(Phase.RAMDISK)
        return node.runs == "ramdisk"

    async def presence(self, entry, limit):
        return Presence(self._nodes[entry.name])

    async def turn(self):
        """All at once."""


class PretendedTestbed:
    """A gateway with three nodes, and what commands tell there."""

    hang = HANGS

    def __init__(self, directory):
        self.directory = directory
        self.pxelinux = directory / "pxelinux.cfg"
        self.pxelinux.mkdir()
        (self.pxelinux / "pxefrisbee").touch()
        self.image = directory / "mine.ndz"
        self.image.write_bytes(IMAGE)
        self.state = directory / "state"
        server = directory / "server"
        server.write_text(SERVER)
        server.chmod(0o755)
        self.nodes = [PretendedNode(number, self.pxelinux) for number in (1, 2, 3)]
        self.first, self.second, self.third = self.nodes
        self.told = []
        self._news = asyncio.Event()
        self.bus = Bus()
        self.bus.report = self._report
        self.settings = Settings(
            testbed=configured.TestbedSettings(state_dir=self.state),
            nodes=configured.NodesSettings(
                idle_after_reset=1.0, probe_interval=0.01, soft_off_timeout=0.1
            ),
            pxelinux=configured.PxelinuxSettings(config_dir=self.pxelinux),
            frisbee=configured.FrisbeeSettings(
                server=str(server),
                hard_drive=DISK,
                root_partition="1",
                images_dir=directory,
            ),
            networking=configured.NetworkingSettings(
                local_control_ip="127.0.0.1", telnet_backoff=0.01, ssh_backoff=0.01
            ),
        )

    def limit(self, **limits):
        """Set limits of [nodes]."""
        nodes = self.settings.nodes.but(**limits)
        self.settings = dataclasses.replace(self.settings, nodes=nodes)

    def _report(self, event):
        self.told.append(event)
        self._news.set()
        Bus.report(self.bus, event)

    @property
    def doors(self):
        return PretendedDoors(self.settings, self.nodes)

    @property
    def entries(self):
        return [node.entry for node in self.nodes]

    def of(self, kind):
        """Return what was told of a kind."""
        return [event for event in self.told if isinstance(event, kind)]

    def links(self):
        return sorted(path.name for path in self.pxelinux.glob("01-*"))

    @property
    def finished(self):
        """The last event, of which there is one."""
        (finished,) = self.of(Finished)
        assert finished is self.told[-1]
        return finished

    def results(self):
        """How the command ended on each node: the phase in which it failed, or None."""
        return {each.node: each.phase for each in self.finished.nodes}

    def noted(self, command):
        """Return what the history has of a command, like `results`."""
        return {
            run.node: Phase(run.phase) if run.phase else None
            for run in History(self.state).runs()
            if run.command == command
        }

    async def run(self, work):
        """Run a command to its end, soon; all is given back then, and the history has it."""
        async with asyncio.timeout(60):
            await work
        await self.require_all_given_back()
        assert self.noted(self.finished.command) == self.results()

    async def interrupt(self, work, when=None):
        """Interrupt a command once a node hangs, or once what it told fulfils a condition."""
        moments = [self._until(when)] if when else [node.hangs.wait() for node in self.nodes]
        async with asyncio.timeout(60):
            async with asyncio.TaskGroup() as group:
                task, *others = map(group.create_task, [work, *moments])
                await asyncio.wait([task, *others], return_when=asyncio.FIRST_COMPLETED)
                for each in [task, *others]:
                    each.cancel()
        assert task.cancelled()
        await self.require_all_given_back()
        assert self.finished.exit_code == 1
        assert self.noted(self.finished.command) == self.results()

    async def _until(self, condition):
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def require_all_given_back(self):
        """Fail unless the nodes are anybody's again, and nothing is left of the command."""
        names = [node.entry.name for node in self.nodes]
        async with hold(self.state, "next", names, 0.0):
            assert list(self.state.glob("*/link.*")) == []


@pytest.fixture
def testbed(tmp_path, monkeypatch):
    monkeypatch.setattr(power, "READINGS_APART_S", 0.0)
    monkeypatch.setattr(fleet, "PAUSE_S", 0.0)
    return PretendedTestbed(tmp_path)


FAULTS = {
    Phase.RESET: CardError("no answer in 5 s to reset"),
    Phase.RAMDISK: Unreachable("nobody is there"),
    Phase.DISK: CommandFailed("no disk"),
    Phase.IMAGE: CommandFailed("Short write!"),
    Phase.BOOT: CardError("no answer in 5 s to reset"),
}


@pytest.fixture
def faults():
    """What goes wrong in each phase."""
    return FAULTS


@pytest.fixture(params=list(FAULTS), ids=str)
def phase(request):
    """Each phase of a node on its way through the ramdisk."""
    return request.param
