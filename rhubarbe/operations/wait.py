"""Wait: return when every node accepts ssh, runs a certain image, or is in the ramdisk."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rhubarbe import dialogue
from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.disks import NodeDisk
from rhubarbe.errors import NodeError, Unreachable
from rhubarbe.events import Phase
from rhubarbe.inventory import Entry
from rhubarbe.node import Doors, Node
from rhubarbe.node.keys import require_files, unusable_keys
from rhubarbe.operations.command import Command
from rhubarbe.operations.readiness import Readiness, WantedImage
from rhubarbe.operations.workplace import sweep
from rhubarbe.repository.inside import RootPartition

# The clocks of two machines may differ by this, and a reset takes a moment to be sent.
SLACK_S = 1.0
UNSTAMPED = "an image without a stamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRequest:
    """Which nodes to wait for, as which user; `backoff` is the mean pause between two tries.

    They are to run `image`, if that is given; or with `telnet`, to be in the ramdisk.
    """

    entries: Sequence[Entry]
    limit: float
    backoff: float
    user: str
    telnet: bool = False
    image: str | None = None


async def wait(
    request: WaitRequest, settings: Settings, bus: Bus, doors: Doors | None = None
) -> None:
    """Wait for all the nodes; one that refuses the key has answered, and is bad.

    Raises ImageError for an image by which no node could be told.
    """
    command = Command("wait", request.entries, request.limit, doors or Doors(settings), bus)
    command.begin()
    await require_files(settings.networking)
    await sweep(command)
    wanted = None
    if request.image is not None:
        frisbee = settings.frisbee
        root = RootPartition.of(frisbee.root_partition, frisbee.hard_drive)
        wanted = await asyncio.to_thread(
            WantedImage.look_up, request.image, frisbee.images_dir, root
        )
    if not request.telnet and not settings.networking.ssh_key:
        for words in await unusable_keys():
            command.notice(f"passed over: {words}")
    readiness = Readiness(list(request.entries), bus)

    async def job(node: Node) -> None:
        if request.telnet:
            await node.ramdisk.wait(request.limit)
        else:
            await _wait_for_ssh(node, request, wanted)

    await command.run(command.nodes(), job, [readiness.follow, readiness.tell])


async def _wait_for_ssh(node: Node, request: WaitRequest, wanted: WantedImage | None) -> None:
    async def attempt(limit: float) -> None:
        if wanted is None:
            node.note(f"accepts ssh: {await node.system.log_in(limit, request.user)}")
            return
        stamp = wanted.require(await node.system.stamps(limit, request.user) or "")
        node.note(f"runs image {stamp.image} ({stamp.when})")

    async with node.enter(Phase.SSH):
        await node.system.insist(attempt, request.backoff)


async def wait_for_boot(
    node: Node, since: float, stamp: str | None, disk: NodeDisk | None = None
) -> None:
    """Return once ssh answers from the system that a load has just written.

    It must have booted after `since`, in monotonic seconds, and show the last stamp of the image,
    perhaps empty; None where that is not known: the time of the boot has to do. Where its root is
    on a disk that tells who it is, that must be `disk`. Raises NodeError.
    """

    async def attempt(limit: float) -> None:
        uptime = await node.system.uptime(limit)
        if time.monotonic() - uptime < since - SLACK_S:
            raise Unreachable("ssh answers, but from a system that was up before the image")
        shown = dialogue.last_stamp(await node.system.stamps(limit) or "")
        if stamp is not None:
            _require_stamp(shown, stamp)
        if disk is not None and dialogue.can_be_told(disk):
            _require_disk(await node.system.root_disk(limit), disk)
        node.note(f"up for {uptime:.0f} s, runs: {shown or UNSTAMPED}")

    limit, mean = node.settings.nodes.wait_default_timeout, node.settings.networking.ssh_backoff
    try:
        async with node.enter(Phase.SSH, limit, "no proof over ssh that it runs the image"):
            await node.system.insist(attempt, mean)
    except Unreachable as error:
        raise Unreachable(f"{error} (last: {node.last_line})") from error


def _require_stamp(shown: str, written: str) -> None:
    """Refuse a system that is not the one on the disk; raises NodeError."""
    if shown == written:
        return
    if not shown:
        # Unreachable, so that it is tried again: early in a boot, ssh may answer from an initrd.
        raise Unreachable(
            f"ssh answers, but from a system without the stamp of the image: {written}"
        )
    raise NodeError(
        f"it runs another system than was loaded: {shown}; the image has: {written or UNSTAMPED}"
    )


def _require_disk(answer: str, disk: NodeDisk) -> None:
    """Refuse a system that runs from another disk; raises NodeError."""
    if other := dialogue.other_disk(disk, answer):
        raise NodeError(f"it runs from another disk than was loaded: {other}")
