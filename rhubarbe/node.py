"""One node, step by step: what the transports return becomes events and outcomes here, only here.

Each step is a phase with a time limit of its own. A step that fails raises NodeError, with words
for the user; who called it knows the phase from `phase`.
"""

import asyncio
import contextlib
import itertools
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from rhubarbe import ramdisk
from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config.settings import Shell
from rhubarbe.disks import Choice, Disk, partition_of
from rhubarbe.errors import (
    CardError,
    CommandFailed,
    Mistrusted,
    NodeError,
    Refused,
    Unreachable,
)
from rhubarbe.events import (
    NodeNoted,
    NodeSaid,
    Phase,
    PhaseDone,
    PhaseStarted,
    Progress,
    StrangersSeen,
)
from rhubarbe.inventory import Entry
from rhubarbe.text import sanitise, size_of
from rhubarbe.transports.presence import Presence, accepts
from rhubarbe.transports.pxe import NextBoot
from rhubarbe.transports.shell import Session, open_session, shell_port

# A look at a port: on the control network an answer takes milliseconds.
LOOK = 1.0
# A power state is believed once two readings this far apart agree.
READINGS_APART = 0.2
# A shell that accepts a connection but says nothing for this long is not ready.
SHELL_ANSWERS = 5.0
# How long after its shell answers a node's disks may take to show up.
DISKS_SHOW_UP = 5.0


# OpenSSH (9.8 and later) holds five seconds against our address for a login that it refuses, and
# lets in nobody from there at fifteen: a try every so often is forgiven.
FORGIVEN = 10.0
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


async def backoff(mean: float) -> AsyncIterator[int]:
    """Yield 0, 1, 2, ... at once, then each after a random pause around `mean` seconds."""
    for attempt in itertools.count():
        yield attempt
        await asyncio.sleep(mean * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _to_nobody(output: ramdisk.Line | ramdisk.Percent) -> None:
    """Pass over what a node says."""


class PowerCards(Protocol):
    """What a node needs of its power card; the cards are told apart by IP address."""

    async def ask(self, ip: str, verb: str) -> str:
        """Send a question or an order, and return the answer."""

    async def is_on(self, ip: str) -> bool:
        """Ask for the power state."""

    async def send(self, ip: str, verb: str) -> None:
        """Send on, off or reset."""

    async def turn(self) -> None:
        """Wait until one more node may be reset."""


class Node:
    """One node of the inventory, as one command works on it."""

    def __init__(self, entry: Entry, settings: Settings, cards: PowerCards, bus: Bus) -> None:
        self.entry = entry
        self.name = entry.name
        self.phase = Phase.LINK
        self.last_line = ""
        self.spent: dict[Phase, float] = {}
        self._last_note = ""
        self._told = ramdisk.Share()
        self._mistrust = ""
        self._percent = -1.0
        self._saw_strangers = False
        own = settings.for_node(entry.number, entry.name, entry.disk)
        self._settings = own
        self._choice = Choice.read(own.frisbee.hard_drive, own.disk_setting)
        self._general_disk = settings.frisbee.hard_drive
        self._disk: Disk | None = None
        self._cards = cards
        self._bus = bus
        self._shell = own.nodes.ramdisk_shell
        self.next_boot = NextBoot(
            own.pxelinux.config_dir, entry.control.mac, own.pxelinux.frisbee_image
        )

    @property
    def settings(self) -> Settings:
        """What holds for this node."""
        return self._settings

    @property
    def disk(self) -> Disk:
        """The disk that is meant, once it was found."""
        if self._disk is None:
            raise RuntimeError("the disk was not looked for")
        return self._disk

    def note(self, text: str) -> None:
        """Report a detail of what is being done, unless it is the same as before."""
        if text != self._last_note:
            self._last_note = text
            if self._may_tell(text):
                self._bus.report(NodeNoted(node=self.name, text=sanitise(text)))

    def _may_tell(self, words: str) -> bool:
        """Tell whether there is room for more words of the node, and once that there is not."""
        if self._told.allows(words):
            return True
        if not self._told.is_used_up:
            self._told.is_used_up = True
            text = f"says more than {size_of(ramdisk.MOST_TOLD)}: the rest is not told"
            self._bus.report(NodeNoted(node=self.name, text=text))
        return False

    @contextlib.asynccontextmanager
    async def enter(
        self, phase: Phase, limit: float | None = None, what: str = ""
    ) -> AsyncIterator[None]:
        """Go through a phase in at most `limit` seconds; `what` says what did not happen then.

        No limit is for a phase whose steps have their own.
        """
        self.phase = phase
        started = time.monotonic()
        self._bus.report(PhaseStarted(node=self.name, phase=phase))
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                yield
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise Unreachable(f"{what} in {limit:g} s") from error
        finally:
            seconds = time.monotonic() - started
            self.spent[phase] = self.spent.get(phase, 0.0) + seconds
        self._bus.report(PhaseDone(node=self.name, phase=phase, seconds=seconds))

    # -- power

    async def reboot(self, phase: Phase) -> None:
        """Restart the node, and return once it was seen to go away; raises NodeError."""
        limits = self._settings.nodes
        await self._cards.turn()
        async with self.enter(phase, limits.reset_timeout, "the node was not seen to restart"):
            try:
                await self._restart()
            except CardError as error:
                raise CardError(f"power card {self.entry.cmc.hostname} {error}") from error

    async def _restart(self) -> None:
        is_on = await self.settled_power()
        presence = await self.presence()
        if not is_on:
            await self._require_gone(presence)
            await self.send("on")
            return
        await self.send("reset")
        if not presence:
            self.note("answered nowhere before the reset")
            return
        try:
            async with asyncio.timeout(self._settings.nodes.idle_after_reset):
                await presence.departed(self._settings.nodes.probe_interval)
        except TimeoutError:
            self.note("was not seen to go away: switching it off, then on")
            await self._off_and_on(presence)

    async def _require_gone(self, presence: Presence) -> None:
        """Check that a node whose card says that it is off does not answer for long."""
        if not presence:
            return
        try:
            async with asyncio.timeout(self._settings.nodes.idle_after_reset):
                await presence.departed(self._settings.nodes.probe_interval)
        except TimeoutError:
            raise CardError("says that the node is off, but the node stays up") from None

    async def _off_and_on(self, presence: Presence) -> None:
        """Restart a node whose card ignored the reset, or only said that it did it."""
        await self.send("off")
        try:
            async with asyncio.timeout(self._settings.nodes.idle_after_reset):
                await presence.departed(self._settings.nodes.probe_interval)
        except TimeoutError:
            raise NodeError(
                f"power card {self.entry.cmc.hostname} says ok to reset and to off,"
                " but the node stays up"
            ) from None
        if await self.settled_power():
            raise CardError("says ok to off, but that the node is on")
        await self.send("on")

    async def ask(self, verb: str) -> str:
        """Return what the power card answers to a question; raises CardError."""
        return await self._cards.ask(self.entry.cmc.ip, verb)

    async def settled_power(self) -> bool:
        """Return whether the node is on, once two readings agree."""
        reading = await self._cards.is_on(self.entry.cmc.ip)
        while True:
            await asyncio.sleep(READINGS_APART)
            again = await self._cards.is_on(self.entry.cmc.ip)
            if again == reading:
                return reading
            reading = again

    async def send(self, verb: str) -> None:
        """Give the power card an order; raises CardError unless it says ok."""
        await self._cards.send(self.entry.cmc.ip, verb)
        self.note(f"{self.entry.cmc.hostname} says ok to {verb}")

    async def presence(self) -> Presence:
        """Look where the node answers now: on telnet, on ssh."""
        ports = self._settings.networking
        return await Presence.observe(
            self.entry.control.ip, (ports.telnet_port, ports.ssh_port), LOOK
        )

    # -- ramdisk

    async def wait_for_ramdisk(self, limit: float | None = None) -> None:
        """Return once the ramdisk answers on its shell; raises Unreachable.

        It has `limit` seconds, or what it may take from a reset on. Then a wrong host key is an
        answer, and raises Mistrusted: nobody but who was reset can show it for long.
        """
        networking = self._settings.networking
        is_reset, self._mistrust = limit is None, ""
        limit = limit or self._settings.nodes.timeout_before_telnet
        try:
            async with self.enter(Phase.RAMDISK, limit, f"no answer on {self._shell}"):
                async for _ in backoff(networking.telnet_backoff):
                    if await self._is_in_ramdisk(ends_by_a_key=is_reset):
                        return
        except Unreachable as error:
            raise Unreachable(f"{error}{await self._instead()}") from error

    async def _instead(self) -> str:
        """Say what a node does that is not in the ramdisk, as far as that is known."""
        networking = self._settings.networking
        if self._shell is Shell.SSH:
            return f" ({self._last_note})" if self._last_note.startswith("ssh not ready") else ""
        if await accepts(self.entry.control.ip, networking.ssh_port, LOOK):
            return "; it answers on ssh: it booted its own disk"
        return ""

    async def _is_in_ramdisk(self, *, ends_by_a_key: bool) -> bool:
        """Tell whether the ramdisk answers; raises Mistrusted for a key that is wrong twice."""
        networking, shell = self._settings.networking, self._shell
        ip = self.entry.control.ip
        if not await accepts(ip, shell_port(shell, networking), networking.telnet_timeout):
            return False
        # A system on the disk may offer ssh, too; nobody else offers telnet without a login.
        command = ramdisk.require_ramdisk(self._choice.path) if shell is Shell.SSH else "true"
        try:
            await self._run(command, ramdisk.Transcript(), SHELL_ANSWERS, heard=False)
        except NodeError as error:
            words = str(error).removeprefix(f"{shell}: ")
            self.note(f"{shell} not ready: {words}")
            # The first may be the old system's.
            if ends_by_a_key and isinstance(error, Mistrusted) and words == self._mistrust:
                raise
            if isinstance(error, Refused):
                self._mistrust = words
                await asyncio.sleep(FORGIVEN)
            return False
        return True

    async def find_disk(self, *, to_write: bool) -> Disk:
        """Return the disk that is meant on this node; raises Refused, which names all of them.

        One that is to be written must not be mounted; nor may any where the shell is not proven to
        be the ramdisk's by its port.
        """
        limit = self._settings.nodes.silence_timeout + DISKS_SHOW_UP
        async with self.enter(Phase.DISK, limit, "the node did not tell its disks"):
            disks, disk = await self._look_for_disk()
            mount = disks.mount_of(disk)
            if mount and (to_write or self._shell is Shell.SSH):
                raise Refused(f"{disk} is in use: {mount}")
            if to_write and disk.is_read_only:
                raise Refused(f"{disk} cannot be written: it is read-only")
        self.note(f"its disk is {disk}")
        self._disk = disk
        return disk

    async def _look_for_disk(self) -> tuple[ramdisk.NodeDisks, Disk]:
        """Ask until the disk has shown up: the shell may answer before all drivers are there."""
        end = time.monotonic() + DISKS_SHOW_UP
        async for _ in backoff(self._settings.networking.telnet_backoff):
            told = ramdisk.DisksTranscript()
            question = ramdisk.list_disks(self._choice.path)
            await self._run(question, told, self._settings.nodes.silence_timeout)
            disks = ramdisk.NodeDisks(told)
            try:
                return disks, disks.choose(self._choice)
            except Refused as error:
                if time.monotonic() > end:
                    raise
                self.note(str(error))
        raise AssertionError("it has no end")

    async def version_of(self, program: str) -> ramdisk.VersionTranscript:
        """Have a program on the node tell its version, whatever its options; raises NodeError."""
        told = ramdisk.VersionTranscript()
        command = ramdisk.ask_version(program)
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
        transcript: ramdisk.ImageTranscript,
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
            self.note(f"read back and compared {transcript.verified_bytes} bytes")
        self._bus.report(Progress(node=self.name, percent=100.0))

    def _tell_strangers(self, lines: list[str]) -> None:
        """Report, once a node, what it noticed of others on the network."""
        if lines and not self._saw_strangers:
            self._saw_strangers = True
            text = "; ".join(lines)
            addresses = tuple(dict.fromkeys(_ADDRESS.findall(text)))
            self._bus.report(StrangersSeen(node=self.name, addresses=addresses, text=text))

    async def stamp(self, line: str) -> None:
        """Add a line to /etc/rhubarbe-image on the node's disk; raises NodeError."""
        command = ramdisk.stamp(self.root_partition, self._settings.frisbee.mount_point, line)
        await self._run(command, ramdisk.Transcript(), self._settings.nodes.silence_timeout)

    async def read_image(
        self, address: str, port: int, secret: str, transcript: ramdisk.ImagezipTranscript
    ) -> None:
        """Run imagezip on the node, towards our address and port, to its end; raises NodeError.

        The secret is sent first, and is told to nobody here.
        """
        transcript.secret = secret
        frisbee = self._settings.frisbee
        command = ramdisk.read_image(
            frisbee.imagezip,
            self.disk.path,
            frisbee.netcat,
            address,
            port,
            secret,
        )
        await self._run(command, transcript, self._settings.nodes.silence_timeout)

    async def _run(
        self, command: str, transcript: ramdisk.Transcript, limit: float, *, heard: bool = True
    ) -> None:
        """Run a command in the ramdisk's shell, in a session of its own; raises NodeError.

        What it says is reported, unless nobody is to hear it.
        """
        ip, networking = self.entry.control.ip, self._settings.networking
        async with open_session(self._shell, ip, networking, self.name) as session:
            tell = self._tell if heard else _to_nobody
            measure = ramdisk.Measure(ramdisk.MOST_SAID if heard else ramdisk.MOST_SAID_TO_A_LOOK)
            await session.send(ramdisk.script(command))
            await self._hear(session, transcript, limit, measure, tell)

    async def _hear(
        self,
        session: Session,
        transcript: ramdisk.Transcript,
        limit: float,
        measure: ramdisk.Measure,
        tell: Callable[[ramdisk.Line | ramdisk.Percent], None],
    ) -> None:
        """Hear a command to its end; the node may be silent for at most `limit` seconds."""
        deadline = asyncio.timeout(limit)
        loop = asyncio.get_running_loop()
        try:
            async with deadline:
                async for piece in session.pieces():
                    deadline.reschedule(loop.time() + limit)
                    if not measure.allows(piece):
                        raise Refused("the node floods its shell")
                    for output in transcript.feed(piece):
                        if isinstance(output, ramdisk.Ended):
                            self._require_success(output.status, transcript)
                            return
                        tell(output)
                    # A flood is always there already: others want their turn.
                    await asyncio.sleep(0)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise Unreachable(f"the node said nothing for {limit:g} s") from error
        finally:
            self.last_line = transcript.last_line
        raise Unreachable(
            f"the {self._shell} session was cut before the program on the node had ended"
        )

    def _tell(self, output: ramdisk.Line | ramdisk.Percent) -> None:
        if isinstance(output, ramdisk.Percent):
            # Whole percents are all that anybody looks at, and a log keeps them all.
            if int(output.value) != int(self._percent):
                self._bus.report(Progress(node=self.name, percent=output.value))
            self._percent = output.value
        elif not output.text.endswith(ramdisk.BEGIN_MARK) and self._may_tell(output.text):
            self._bus.report(NodeSaid(node=self.name, line=output.text))

    @staticmethod
    def _require_success(status: int, transcript: ramdisk.Transcript) -> None:
        if not status:
            return
        words = f"the program on the node ended with status {status}"
        reason = transcript.refusal or transcript.last_line or "it said nothing"
        if transcript.refusal or status in ramdisk.NO_PROGRAM:
            raise Refused(f"{words}: {reason}")
        raise CommandFailed(f"{words}: {reason}")

    @contextlib.asynccontextmanager
    async def linked(self, *, stays: bool = False) -> AsyncIterator[None]:
        """Hold the nextboot link, as the phase of this name; it may stay after a good end."""
        self.phase = Phase.LINK
        self._bus.report(PhaseStarted(node=self.name, phase=Phase.LINK))
        started = time.monotonic()
        async with self.next_boot.linked(stays=stays):
            seconds = time.monotonic() - started
            self._bus.report(PhaseDone(node=self.name, phase=Phase.LINK, seconds=seconds))
            yield
