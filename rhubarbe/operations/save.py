"""Save: read one node's disk back into an image on the gateway."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rhubarbe import dialogue
from rhubarbe.bus import Bus
from rhubarbe.concurrency.alarm import unless
from rhubarbe.concurrency.threads import in_passing, to_the_end
from rhubarbe.config import Settings
from rhubarbe.disks import NONE, NodeDisk
from rhubarbe.errors import GatewayError, ImageError, NodeError, why
from rhubarbe.events import CollectorReady, ImageSaved, Phase, Progress
from rhubarbe.gateway.checks.space import free_space
from rhubarbe.gateway.services.collector import Collector, collect
from rhubarbe.inventory import Entry
from rhubarbe.ndz.header import CHUNK
from rhubarbe.node import Doors, Node
from rhubarbe.operations.command import Command
from rhubarbe.operations.workplace import Workplace, workplace
from rhubarbe.repository import partial_path
from rhubarbe.repository.own import own_things
from rhubarbe.repository.removing import expire_partials
from rhubarbe.repository.sectors import Deadline
from rhubarbe.text import BYTES, sanitise, size_of

SHORTENED = (
    "the comment is kept without its control characters,"
    f" and no longer than fits a line of {dialogue.LONGEST_STAMP} characters"
)
# Seconds for looking into the image, since the node is reset only after that.
LOOKS_WITHIN_S = 10.0
# How much larger than the disk an image of it may be, where nothing on it can be compressed.
LARGEST_IMAGE = 1.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveRequest:
    """Which node to save, where to; `author` and `comment` go into the node's stamp."""

    entry: Entry
    image: Path
    author: str
    comment: str
    now: datetime
    limit: float
    resets: bool = True
    lock_wait_s: float = 0.0

    @property
    def stamp(self) -> str:
        """The line that the saved image carries in /etc/rhubarbe-image."""
        words = (
            f"{self.now:%Y-%m-%d@%H:%M:%S} - node {self.entry.name}"
            f" - image {self.image.name.removesuffix('.ndz')} - by {self.author}"
        )
        line = f"{words} - {self.comment}" if self.comment else words
        return sanitise(line, 4 * len(line) + 1)[: dialogue.LONGEST_STAMP]

    @property
    def is_comment_whole(self) -> bool:
        """Whether the stamp has all of the comment, but for how its words are spaced."""
        words = " ".join(self.comment.translate(BYTES).split())
        return not words or self.stamp.endswith(f" - {words}")


async def save(
    request: SaveRequest, settings: Settings, bus: Bus, doors: Doors | None = None
) -> None:
    """Save the node's disk; raises RhubarbeError before the node is touched, or never.

    The image has its final name only when it is whole.
    """
    command = Command("save", [request.entry], request.limit, doors or Doors(settings), bus)
    command.begin()
    await command.require_lease()
    await command.require_secrets()
    address = command.our_address()
    if not request.is_comment_whole:
        command.notice(SHORTENED)
    progress = _DiskProgress(request.entry.name, bus)
    await _expire_partials(request, command)
    async with (
        workplace(command, resets=request.resets, lock_wait_s=request.lock_wait_s) as place,
        collect(
            partial_path(request.image),
            address=address,
            sender=request.entry.control.ip,
            on_reach=progress.reached,
            on_refusal=command.notice,
        ) as collector,
    ):
        free = await _require_space(request)
        path = str(collector.partial)
        bus.report(CollectorReady(address=collector.address, port=collector.port, path=path))
        job = _Save(place, request, collector, progress, free).run
        await place.run(job, [place.tell_progress])


async def _expire_partials(request: SaveRequest, command: Command) -> None:
    """Remove what older saves of ours have left in the directory, and tell of it."""
    days = command.settings.frisbee.partial_lifetime
    with contextlib.suppress(TimeoutError):  # the disk is asked again, by who makes the image
        for line in await in_passing(LOOKS_WITHIN_S, expire_partials, request.image.parent, days):
            command.notice(sanitise(line))


async def _require_space(request: SaveRequest) -> int | None:
    """Return how large the image may become, if that is known; raises GatewayError for nothing."""
    directory = request.image.parent
    try:
        free = await in_passing(LOOKS_WITHIN_S, free_space, directory)
    except OSError as error:  # TimeoutError is one
        raise GatewayError(f"{directory}: {why(error)}") from error
    if free is not None and free < CHUNK:
        raise GatewayError(
            f"{directory}: there is room for {size_of(free)}, and the smallest image takes"
            f" {size_of(CHUNK)}: nothing was touched"
        )
    return free


class _DiskProgress:
    """How far the image has come through the node's disk, as percents."""

    def __init__(self, node: str, bus: Bus) -> None:
        self.transcript = dialogue.ImagezipTranscript()
        self._node = node
        self._bus = bus

    def reached(self, position: int) -> None:
        """Take the byte of the disk up to which the image has arrived."""
        if disk := self.transcript.disk_bytes:
            self._bus.report(Progress(node=self._node, percent=min(99.0, 100 * position / disk)))


@dataclass(frozen=True, slots=True)
class _Save:
    """What is done on the node."""

    place: Workplace
    request: SaveRequest
    collector: Collector
    progress: _DiskProgress
    free: int | None

    async def run(self, node: Node) -> None:
        """Bring the node into the ramdisk, stamp and read its disk, reset it onto its disk."""
        await self.place.into_ramdisk(node)
        self._measure(node, await node.ramdisk.find_disk(to_write=False))
        await self._stamp(node)
        async with node.enter(Phase.IMAGE):
            try:
                size = await unless(self.collector.alarm(), self._transfer(node))
            except NodeError as error:
                raise self.collector.explain(error) from error
        bus = self.place.command.bus
        bus.report(Progress(node=node.name, percent=100.0))
        bus.report(ImageSaved(path=str(self.request.image), size=size))
        await self._tell_own_things()
        if self.place.resets:
            await node.power.reboot(Phase.BOOT)

    def _measure(self, node: Node, disk: NodeDisk) -> None:
        """Tell where an image of all that is on the disk would have no room: it may be smaller."""
        most = int((disk.size or 0) * LARGEST_IMAGE)
        if self.free is not None and self.free < most:
            self.place.command.notice(
                f"{self.request.image.parent}: there is room for {size_of(self.free)}, and the"
                f" image of {node.name}'s disk, which has {size_of(disk.size or 0)}, may not fit"
            )

    async def _transfer(self, node: Node) -> int:
        transcript, collector = self.progress.transcript, self.collector
        await node.ramdisk.read_image(
            collector.address, collector.port, collector.secret, transcript
        )
        size = await collector.complete(transcript.image_bytes)
        try:
            await self._publish(self.request.image.name)
        except FileExistsError as error:
            raise ImageError(
                f"{self.request.image}: exists already; the new image is in {collector.partial}"
            ) from error
        except OSError as error:
            raise ImageError(
                f"{collector.partial}: cannot be named {self.request.image}: {why(error)}"
            ) from error
        return size

    async def _publish(self, name: str) -> None:
        """Give the image its name; withdraw it where the save is cancelled at that moment."""
        published = False

        def work() -> None:
            nonlocal published
            self.collector.publish(name)
            published = True

        try:
            await to_the_end(work)
        except asyncio.CancelledError:
            if published:
                await to_the_end(self.collector.withdraw, name)
            raise

    async def _stamp(self, node: Node) -> None:
        """Stamp the disk; a failure is only a notice: an image without a stamp is of use, too."""
        if node.settings.frisbee.root_partition == NONE:
            return
        limit, where = self.place.command.settings.nodes.silence_timeout, ""
        try:
            where = f" on {node.ramdisk.root_partition} (root_partition in [frisbee])"
            async with node.enter(Phase.STAMP, limit, "no end of it"):
                await node.ramdisk.stamp(self.request.stamp)
        except NodeError as error:
            node.note(f"no stamp: /etc/rhubarbe-image could not be written{where}: {error}")

    async def _tell_own_things(self) -> None:
        """Tell what the image holds of this node alone, which never fails a save."""
        image, deadline = self.request.image, Deadline(LOOKS_WITHIN_S)
        file = self.collector.file
        try:
            found = await asyncio.to_thread(own_things, file, deadline)
        except ImageError as error:
            said = str(error).replace(file, str(image))
            words = f"what it holds of one machine only was not looked for: {said}"
        else:
            words = (
                f"{image.name} holds what should be one machine's own: {', '.join(found)};"
                " nodes loaded with it will share them"
            )
            if not found:
                return
        finally:
            deadline.end()
        self.place.command.notice(sanitise(words))
