"""The ramdisk on a node, by its shell: which disks there are, and what writes or reads one."""

import asyncio
import re
import time
from collections.abc import Callable

from rhubarbe import dialogue
from rhubarbe.config import Settings
from rhubarbe.config.settings import RamdiskShell
from rhubarbe.disks import DiskChoice, NodeDisk, partition_of
from rhubarbe.errors import CommandFailed, Mistrusted, NodeError, Refused, Unreachable
from rhubarbe.events import NodeSaid, Phase, Progress, StrangersSeen
from rhubarbe.inventory import Entry
from rhubarbe.node.doors import LOOK, Doors
from rhubarbe.node.steps import Steps
from rhubarbe.node.tries import backoff
from rhubarbe.transports.shell import ShellSession, shell_port

# A shell that accepts a connection but says nothing for this long is not ready.
SHELL_ANSWERS_S = 5.0
# How long after its shell answers a node's disks may take to show up.
DISKS_SHOW_UP_S = 5.0
# OpenSSH (9.8 and later) notes a penalty of five seconds against our address for each login that it
# refuses, and at fifteen refuses all connections. At one try in so many seconds they do not add up.
FORGIVEN_S = 10.0
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


def _to_nobody(output: dialogue.Line | dialogue.Percent) -> None:
    """Pass over what a node says."""


class Ramdisk:
    """What a command does in a node's ramdisk, in sessions with its shell."""

    def __init__(self, entry: Entry, settings: Settings, doors: Doors, steps: Steps) -> None:
        """Take the `settings` of this node, which may differ from those of others."""
        self._entry = entry
        self._settings = settings
        self._general_disk = doors.settings.frisbee.hard_drive
        self._doors = doors
        self._steps = steps
        self._shell = settings.nodes.ramdisk_shell
        self._choice = DiskChoice.read(settings.frisbee.hard_drive, settings.disk_setting)
        self._disk: NodeDisk | None = None
        self._mistrust = ""
        self._percent = -1.0
        self._saw_strangers = False

    @property
    def disk(self) -> NodeDisk:
        """The disk that is meant, once it was found."""
        if self._disk is None:
            raise RuntimeError("the disk was not looked for")
        return self._disk

    async def wait(self, limit_s: float | None = None) -> None:
        """Return once the ramdisk answers on its shell; raises Unreachable.

        It has `limit_s` seconds, or what it may take after a reset. Then a host key that is wrong
        twice raises Mistrusted: the old system, which may show its own once, has gone by then.
        """
        networking = self._settings.networking
        is_reset, self._mistrust = limit_s is None, ""
        limit_s = limit_s or self._settings.nodes.timeout_before_telnet
        try:
            async with self._steps.enter(Phase.RAMDISK, limit_s, f"no answer on {self._shell}"):
                async for _ in backoff(networking.telnet_backoff):
                    if await self._is_in_ramdisk(ends_by_a_key=is_reset):
                        return
        except Unreachable as error:
            raise Unreachable(f"{error}{await self._instead()}") from error

    async def _instead(self) -> str:
        """Say what a node does that is not in the ramdisk, as far as that is known."""
        networking = self._settings.networking
        if self._shell is RamdiskShell.SSH:
            note = self._steps.last_note
            return f" ({note})" if note.startswith("ssh not ready") else ""
        if await self._doors.accepts(self._entry, networking.ssh_port, LOOK):
            return "; it answers on ssh: it booted its own disk"
        return ""

    async def _is_in_ramdisk(self, *, ends_by_a_key: bool) -> bool:
        """Tell whether the ramdisk answers; raises Mistrusted for a key that is wrong twice."""
        networking, shell = self._settings.networking, self._shell
        port = shell_port(shell, networking)
        if not await self._doors.accepts(self._entry, port, networking.telnet_timeout):
            return False
        # A system on the disk may offer ssh, too; nobody else offers telnet without a login.
        command = (
            dialogue.require_ramdisk(self._choice.path) if shell is RamdiskShell.SSH else "true"
        )
        try:
            await self._run(command, dialogue.Transcript(), SHELL_ANSWERS_S, heard=False)
        except NodeError as error:
            words = str(error).removeprefix(f"{shell}: ")
            self._steps.note(f"{shell} not ready: {words}")
            # The first wrong key may be that of the old system, which is about to go.
            if ends_by_a_key and isinstance(error, Mistrusted) and words == self._mistrust:
                raise
            if isinstance(error, Refused):
                self._mistrust = words
                await asyncio.sleep(FORGIVEN_S)
            return False
        return True

    async def find_disk(self, *, to_write: bool) -> NodeDisk:
        """Return the disk that is meant on this node; raises Refused, which names all of them.

        One that is to be written must not be mounted; nor may any where the shell is not proven to
        be the ramdisk's by its port.
        """
        limit_s = self._settings.nodes.silence_timeout + DISKS_SHOW_UP_S
        async with self._steps.enter(Phase.DISK, limit_s, "the node did not tell its disks"):
            disks, disk = await self._look_for_disk()
            mount = disks.mount_of(disk)
            if mount and (to_write or self._shell is RamdiskShell.SSH):
                raise Refused(f"{disk} is in use: {mount}")
            if to_write and disk.is_read_only:
                raise Refused(f"{disk} cannot be written: it is read-only")
        self._steps.note(f"its disk is {disk}")
        self._disk = disk
        return disk

    async def _look_for_disk(self) -> tuple[dialogue.NodeDisks, NodeDisk]:
        """Ask until the disk has shown up: the shell may answer before all drivers are there."""
        end = time.monotonic() + DISKS_SHOW_UP_S
        async for _ in backoff(self._settings.networking.telnet_backoff):
            told = dialogue.DisksTranscript()
            question = dialogue.list_disks(self._choice.path)
            await self._run(question, told, self._settings.nodes.silence_timeout)
            disks = dialogue.NodeDisks(told)
            try:
                return disks, disks.choose(self._choice)
            except Refused as error:
                if time.monotonic() > end:
                    raise
                self._steps.note(str(error))
        raise AssertionError("it has no end")

    async def version_of(self, program: str) -> dialogue.VersionTranscript:
        """Have a program on the node tell its version, whatever its options; raises NodeError."""
        told = dialogue.VersionTranscript()
        command = dialogue.ask_version(program)
        await self._run(command, told, self._settings.nodes.silence_timeout, heard=False)
        return told

    @property
    def root_partition(self) -> str:
        """The partition to stamp on the disk that was found, empty for none; raises Refused."""
        said, general = self._settings.frisbee.root_partition, self._general_disk
        try:
            return partition_of(self.disk, said, general)
        except ValueError:
            raise Refused(f"root_partition is none of {self.disk.path}: {said}") from None

    async def write_image(
        self,
        command: str,
        transcript: dialogue.ImageTranscript,
        silence: float,
        *,
        verify: bool,
    ) -> None:
        """Run the command that writes an image on the node to its end; raises NodeError.

        The node may be silent for `silence` seconds. With `verify` it reads the disk again, and
        must say so.
        """
        try:
            await self._run(command, transcript, silence)
        finally:
            self._tell_strangers(transcript.strangers)
        if verify:
            if transcript.verified_bytes is None:
                raise Refused("what writes the image on the node does not say that it verified")
            self._steps.note(f"read back and compared {transcript.verified_bytes} bytes")
        self._steps.report(Progress(node=self._steps.name, percent=100.0))

    def _tell_strangers(self, lines: list[str]) -> None:
        """Report, once a node, what it noticed of others on the network."""
        if lines and not self._saw_strangers:
            self._saw_strangers = True
            text = "; ".join(lines)
            addresses = tuple(dict.fromkeys(_ADDRESS.findall(text)))
            self._steps.report(StrangersSeen(node=self._steps.name, addresses=addresses, text=text))

    async def stamp(self, line: str) -> None:
        """Add a line to /etc/rhubarbe-image on the node's disk; raises NodeError."""
        command = dialogue.stamp(self.root_partition, self._settings.frisbee.mount_point, line)
        await self._run(command, dialogue.Transcript(), self._settings.nodes.silence_timeout)

    async def read_image(
        self, address: str, port: int, secret: str, transcript: dialogue.ImagezipTranscript
    ) -> None:
        """Run imagezip on the node, towards our address and port, to its end; raises NodeError.

        The secret is sent first, and is told to nobody here.
        """
        transcript.secret = secret
        frisbee = self._settings.frisbee
        command = dialogue.read_image(
            frisbee.imagezip,
            self.disk.path,
            frisbee.netcat,
            address,
            port,
            secret,
        )
        await self._run(command, transcript, self._settings.nodes.silence_timeout)

    async def _run(
        self, command: str, transcript: dialogue.Transcript, limit_s: float, *, heard: bool = True
    ) -> None:
        """Run a command in the ramdisk's shell, in a session of its own; raises NodeError.

        What it says is reported, unless nobody is to hear it.
        """
        async with self._doors.shell(self._entry, self._settings) as session:
            tell = self._tell if heard else _to_nobody
            measure = dialogue.Measure(
                dialogue.MOST_SAID if heard else dialogue.MOST_SAID_TO_A_LOOK
            )
            await session.send(dialogue.script(command))
            await self._hear(session, transcript, limit_s, measure, tell)

    async def _hear(
        self,
        session: ShellSession,
        transcript: dialogue.Transcript,
        limit_s: float,
        measure: dialogue.Measure,
        tell: Callable[[dialogue.Line | dialogue.Percent], None],
    ) -> None:
        """Hear a command to its end; the node may be silent for at most `limit_s` seconds."""
        deadline = asyncio.timeout(limit_s)
        loop = asyncio.get_running_loop()
        try:
            async with deadline:
                async for piece in session.pieces():
                    deadline.reschedule(loop.time() + limit_s)
                    if not measure.allows(piece):
                        raise Refused("the node floods its shell")
                    for output in transcript.feed(piece):
                        if isinstance(output, dialogue.Ended):
                            self._require_success(output.status, transcript)
                            return
                        tell(output)
                    # Lines that have come already are read without waiting: let others run, too.
                    await asyncio.sleep(0)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise Unreachable(f"the node said nothing for {limit_s:g} s") from error
        finally:
            self._steps.last_line = transcript.last_line
        raise Unreachable(
            f"the {self._shell} session was cut before the program on the node had ended"
        )

    def _tell(self, output: dialogue.Line | dialogue.Percent) -> None:
        if isinstance(output, dialogue.Percent):
            # Only when the whole percent has changed: every event is also a line in the log.
            if int(output.value) != int(self._percent):
                self._steps.report(Progress(node=self._steps.name, percent=output.value))
            self._percent = output.value
        elif not output.text.endswith(dialogue.BEGIN_MARK) and self._steps.may_tell(output.text):
            self._steps.report(NodeSaid(node=self._steps.name, line=output.text))

    @staticmethod
    def _require_success(status: int, transcript: dialogue.Transcript) -> None:
        if not status:
            return
        words = f"the program on the node ended with status {status}"
        reason = transcript.refusal or transcript.last_line or "it said nothing"
        if transcript.refusal or status in dialogue.NO_PROGRAM:
            raise Refused(f"{words}: {reason}")
        raise CommandFailed(f"{words}: {reason}")
