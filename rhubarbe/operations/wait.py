"""Wait: return when every node accepts ssh, runs a certain image, or is in the ramdisk."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from rhubarbe import ramdisk
from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.disks import Disk
from rhubarbe.errors import CommandFailed, NodeError, Unreachable
from rhubarbe.events import Phase
from rhubarbe.images.inside import Root
from rhubarbe.inventory import Entry
from rhubarbe.node import Node, backoff
from rhubarbe.operations.command import Command
from rhubarbe.operations.readiness import Readiness, WantedImage
from rhubarbe.operations.workplace import open_cards, sweep
from rhubarbe.transports.known_hosts import require_files
from rhubarbe.transports.presence import accepts
from rhubarbe.transports.ssh import Host, unusable_keys

# On a gateway that is busy with many nodes the first tries are too short: later ones are longer.
LONGER = 1.5
LONGEST = 30.0
# More handshakes at once than this only make each other late.
SESSIONS = 16
# Between the clocks of two machines, and what a reset takes to be sent.
SLACK = 1.0
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


async def wait(request: WaitRequest, settings: Settings, bus: Bus) -> None:
    """Wait for all the nodes; one that refuses the key has answered, and is bad.

    Raises ImageError for an image by which no node could be told.
    """
    command = Command("wait", request.entries, request.limit, settings, bus)
    command.begin()
    await require_files(settings.networking)
    await sweep(command)
    wanted = None
    if request.image is not None:
        frisbee = settings.frisbee
        root = Root.of(frisbee.root_partition, frisbee.hard_drive)
        wanted = await asyncio.to_thread(
            WantedImage.look_up, request.image, frisbee.images_dir, root
        )
    if not request.telnet and not settings.networking.ssh_key:
        for words in await unusable_keys():
            command.notice(f"passed over: {words}")
    sessions = asyncio.Semaphore(SESSIONS)
    readiness = Readiness(list(request.entries), bus)

    async def job(node: Node) -> None:
        if request.telnet:
            await node.wait_for_ramdisk(request.limit)
        else:
            await _wait_for_ssh(node, request, wanted, settings.networking, sessions)

    nodes = command.nodes(open_cards(settings))
    await command.run(nodes, job, [readiness.follow, readiness.tell])


async def _wait_for_ssh(
    node: Node,
    request: WaitRequest,
    wanted: WantedImage | None,
    networking: NetworkingSettings,
    sessions: asyncio.Semaphore,
) -> None:
    host = Host.of(node.name, node.entry.control.ip, networking, request.user)

    async def attempt(limit: float) -> None:
        if wanted is None:
            node.note(f"accepts ssh: {await host.log_in(limit)}")
            return
        try:
            text = await host.ask(limit, f"cat {ramdisk.STAMP_FILE}")
        except CommandFailed:
            text = ""
        stamp = wanted.require(text)
        node.note(f"runs image {stamp.image} ({stamp.when})")

    async with node.enter(Phase.SSH):
        await _insist(node, attempt, sessions, request.backoff, networking)


async def wait_for_boot(
    node: Node,
    since: float,
    stamp: str | None,
    settings: Settings,
    sessions: asyncio.Semaphore,
    *,
    disk: Disk | None = None,
) -> None:
    """Return once ssh answers from the system that a load has just written.

    It must have booted after `since`, in monotonic seconds, and show the last stamp of the image,
    perhaps empty; None where that is not known: the time of the boot has to do. Where its root is
    on a disk that tells who it is, that must be `disk`.
    `sessions` bounds how many nodes are asked at once. Raises NodeError.
    """
    networking = settings.networking
    host = Host.of(node.name, node.entry.control.ip, networking)

    async def attempt(limit: float) -> None:
        uptime = _seconds(await host.ask(limit, "cat /proc/uptime"))
        if time.monotonic() - uptime < since - SLACK:
            raise Unreachable("ssh answers, but from a system that was up before the image")
        shown = await _shown_stamp(host, limit)
        if stamp is not None:
            _require_stamp(shown, stamp)
        if disk is not None and ramdisk.can_be_told(disk):
            _require_disk(await _root_disk(host, limit), disk)
        node.note(f"up for {uptime:.0f} s, runs: {shown or UNSTAMPED}")

    limit = settings.nodes.wait_default_timeout
    try:
        async with node.enter(Phase.SSH, limit, "no proof over ssh that it runs the image"):
            await _insist(node, attempt, sessions, networking.ssh_backoff, networking)
    except Unreachable as error:
        raise Unreachable(f"{error} (last: {node.last_line})") from error


async def _shown_stamp(host: Host, limit: float) -> str:
    """Return the last stamp of the system that answers, empty where it has none."""
    try:
        return ramdisk.last_stamp(await host.ask(limit, f"cat {ramdisk.STAMP_FILE}"))
    except CommandFailed:
        return ""


async def _root_disk(host: Host, limit: float) -> str:
    """Return what the system tells of the disk that it runs from, empty where it does not."""
    try:
        return await host.ask(limit, ramdisk.ROOT_DISK)
    except CommandFailed:
        return ""


def _require_stamp(shown: str, written: str) -> None:
    """Refuse a system that is not the one on the disk; raises NodeError."""
    if shown == written:
        return
    if not shown:
        # What serves ssh early in a boot may not see the disk yet.
        raise Unreachable(
            f"ssh answers, but from a system without the stamp of the image: {written}"
        )
    raise NodeError(
        f"it runs another system than was loaded: {shown}; the image has: {written or UNSTAMPED}"
    )


def _require_disk(answer: str, disk: Disk) -> None:
    """Refuse a system that runs from another disk; raises NodeError."""
    if other := ramdisk.other_disk(disk, answer):
        raise NodeError(f"it runs from another disk than was loaded: {other}")


def _seconds(answer: str) -> float:
    """Read the first number of /proc/uptime; raises CommandFailed."""
    try:
        return float(answer.split()[0])
    except (ValueError, IndexError) as error:
        raise CommandFailed(f"/proc/uptime over ssh reads {answer[:40]!r}") from error


async def _insist(
    node: Node,
    attempt: Callable[[float], Coroutine[Any, Any, None]],
    sessions: asyncio.Semaphore,
    mean: float,
    networking: NetworkingSettings,
) -> None:
    """Try until it works, about every `mean` seconds; later tries may take longer."""
    limit = networking.ssh_timeout
    async for _ in backoff(mean):
        try:
            # Nodes that are still away must not keep the others from their turns.
            await _require_listener(node.entry.control.ip, networking.ssh_port, limit)
            async with sessions:
                await attempt(limit)
        except Unreachable as error:
            node.last_line = str(error)
            node.note(node.last_line)
            limit = min(LONGEST, limit * LONGER)
        else:
            return


async def _require_listener(ip: str, port: int, limit: float) -> None:
    if not await accepts(ip, port, limit):
        raise Unreachable("nothing listens on the ssh port yet")
