"""Load: put one image on many nodes at once."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import CommandFailed, GatewayError, Refused
from rhubarbe.events import ImageChosen, Phase, Started
from rhubarbe.gateway.addresses import local_address_towards
from rhubarbe.gateway.alarm import unless
from rhubarbe.gateway.frisbeed import BITS_PER_MIBIT, Frisbeed, serve
from rhubarbe.gateway.guardian import Guardian
from rhubarbe.gateway.history import History
from rhubarbe.gateway.journal import Journal
from rhubarbe.gateway.programs import find_program
from rhubarbe.images import check_image
from rhubarbe.inventory import Entry
from rhubarbe.leases import require
from rhubarbe.ndz.check import ImageSummary
from rhubarbe.ndz.header import CHUNK
from rhubarbe.node import Node
from rhubarbe.operations.fleet import Fleet
from rhubarbe.operations.netboot import Workplace, workplace
from rhubarbe.operations.outcome import Outcome
from rhubarbe.operations.wait import SESSIONS, wait_for_boot

# How many chunks may pass by on the wire without a word of the node.
SILENT_CHUNKS = 10
BOOT_ONLY = "what it runs will be proven by the time of its boot only"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What to load, where; `resets` is false where the nodes are in the ramdisk already.

    Nodes that another command works on are waited for `patience` seconds; a node that failed is
    tried `retries` times more, while the server runs for the others, or for it alone. With
    `verifies` the nodes read their disks again and compare; with `waits` they are waited for until
    they show that they run what was loaded.
    """

    image: Path
    entries: Sequence[Entry]
    limit: float
    bandwidth_mibps: int
    resets: bool = True
    patience: float = 0.0
    retries: int = 1
    verifies: bool = False
    waits: bool = False


async def load(request: LoadRequest, settings: Settings, bus: Bus) -> Outcome:
    """Load the image on all the nodes; raises RhubarbeError before any node is touched, or never.

    The image is read and checked to its last chunk first.
    """
    bus.report(Started(command="load", nodes=tuple(entry.name for entry in request.entries)))
    await require(settings, "load", request.limit, bus)
    find_program(settings.frisbee.server)
    summary = await _check(request.image)
    bus.report(
        ImageChosen(
            path=str(request.image), size=summary.size_bytes, chunks=summary.size_bytes // CHUNK
        )
    )
    journal = Journal(settings.testbed.state_dir, "load", request.limit)
    async with workplace(
        journal,
        request.entries,
        settings,
        bus,
        resets=request.resets,
        patience=request.patience,
    ) as place:
        server = _Server(request, settings, bus, place.guardian)
        job = _Load(place, server, request, settings, _image_limit(request, summary, settings)).run
        companions = (server.run, place.guardian.watch, place.tell_progress)
        history = History(settings.testbed.state_dir)
        fleet = Fleet(
            "load",
            place.nodes,
            bus,
            retries=request.retries,
            history=history,
            image=await asyncio.to_thread(os.path.realpath, request.image),
        )
        return await fleet.run(job, request.limit, companions)


async def _check(image: Path) -> ImageSummary:
    """Check the whole image; when cancelled, the threads that read it stop soon."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(check_image, image, stop)
    finally:
        stop.set()


def _image_limit(request: LoadRequest, summary: ImageSummary, settings: Settings) -> float:
    """Return how long a node may take for the image, from its size and the bandwidth."""
    on_the_wire = summary.size_bytes * 8 / (request.bandwidth_mibps * BITS_PER_MIBIT)
    return settings.nodes.silence_timeout + settings.nodes.image_patience * on_the_wire


class _Server:
    """The image server, which starts when the first node is ready for it."""

    def __init__(
        self, request: LoadRequest, settings: Settings, bus: Bus, guardian: Guardian
    ) -> None:
        self._request = request
        self._settings = settings
        self._bus = bus
        self._guardian = guardian
        self._wanted = asyncio.Event()
        self._running: asyncio.Future[Frisbeed] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve from the moment that somebody wants it until cancelled."""
        await self._wanted.wait()
        try:
            async with serve(
                self._request.image,
                address=local_address_towards(
                    self._request.entries[0].control.ip,
                    self._settings.networking.local_control_ip,
                ),
                bandwidth_mibps=self._request.bandwidth_mibps,
                programs=self._settings.frisbee,
                networking=self._settings.networking,
                bus=self._bus,
                guardian=self._guardian,
            ) as server:
                self._running.set_result(server)
                await asyncio.Event().wait()
        except GatewayError as error:
            # Every node that waits for the server fails with this reason.
            self._running.set_exception(error)
            self._running.exception()  # or nobody waits any more

    async def ready(self) -> Frisbeed:
        """Ask for the server and return it once it serves; raises GatewayError."""
        self._wanted.set()
        return await asyncio.shield(self._running)


class _Load:
    """What is done on one node."""

    def __init__(
        self,
        place: Workplace,
        server: _Server,
        request: LoadRequest,
        settings: Settings,
        limit: float,
    ) -> None:
        self._place = place
        self._server = server
        self._request = request
        self._settings = settings
        self._limit = limit
        self._sessions = asyncio.Semaphore(SESSIONS)

    @property
    def _silence(self) -> float:
        """How long a node may say nothing: it tells of each chunk, but not while it reads back."""
        if self._request.verifies:
            return self._limit
        a_chunk = 8 / self._request.bandwidth_mibps
        return self._settings.nodes.silence_timeout + SILENT_CHUNKS * a_chunk

    async def run(self, node: Node) -> None:
        """Bring the node into the ramdisk, write the image, reset it onto its disk."""
        await self._place.into_ramdisk(node)
        async with node.enter(Phase.IMAGE, self._limit, "the image was not written"):
            server = await self._server.ready()
            session = server.session
            work = node.write_image(
                session.group, session.port, self._silence, verify=self._request.verifies
            )
            await unless(server.alarm(), work)
        if not self._place.resets:
            return
        stamp = await self._stamp(node) if self._request.waits else None
        since = time.monotonic()
        await node.reboot(Phase.BOOT)
        if self._request.waits:
            await wait_for_boot(node, since, stamp, self._settings, self._sessions)

    async def _stamp(self, node: Node) -> str | None:
        """Return the last stamp of what was just written, None where it cannot be read.

        The node must show it over ssh. A partition of another disk would prove nothing.
        """
        frisbee = self._settings.frisbee
        if not frisbee.root_partition.startswith(frisbee.hard_drive):
            node.note(f"{BOOT_ONLY}: root_partition is none of {frisbee.hard_drive}")
            return None
        limit = self._settings.nodes.silence_timeout
        async with node.enter(Phase.STAMP, limit, "the stamp was not read"):
            try:
                return await node.read_stamp()
            except (CommandFailed, Refused) as error:
                node.note(f"{BOOT_ONLY}: no filesystem on {frisbee.root_partition}: {error}")
                return None
