"""Load: put one image on many nodes at once."""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhubarbe import ramdisk
from rhubarbe.bus import Bus
from rhubarbe.concurrency.alarm import unless
from rhubarbe.concurrency.threads import in_passing
from rhubarbe.config import Settings
from rhubarbe.config.settings import EngineName
from rhubarbe.disks import Disk
from rhubarbe.errors import GatewayError, ImageError, Refused
from rhubarbe.events import ImageChosen, Phase, Started
from rhubarbe.gateway.engines import Consignment, Engine, Recipient, make_engine, require_program
from rhubarbe.gateway.services.addresses import local_address_towards
from rhubarbe.gateway.state.history import History
from rhubarbe.gateway.state.journal import Journal
from rhubarbe.images import OpenImage
from rhubarbe.images.needs import Needs, read_needs
from rhubarbe.inventory import Entry
from rhubarbe.leases import require
from rhubarbe.ndz.header import CHUNK, SECTOR
from rhubarbe.node import Node
from rhubarbe.operations.fleet import Fleet
from rhubarbe.operations.workplace import Workplace, require_key, workplace
from rhubarbe.operations.outcome import Outcome
from rhubarbe.operations.proof import stamps_to_show
from rhubarbe.operations.unchanged import Unchanged
from rhubarbe.operations.vouching import Vouching, check_image, vouching
from rhubarbe.operations.wait import SESSIONS, wait_for_boot

# How many chunks may pass by on the wire without a word of the node.
SILENT_CHUNKS = 10


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

    The image is checked to its last chunk first, or was once, and is the same file since; what was
    checked is what is served.
    """
    with OpenImage(request.image) as image:
        return await _load(image, request, settings, bus)


async def _load(image: OpenImage, request: LoadRequest, settings: Settings, bus: Bus) -> Outcome:
    bus.report(Started(command="load", nodes=tuple(entry.name for entry in request.entries)))
    await require(settings, "load", request.limit, bus)
    require_program(settings)
    if request.waits:
        await require_key(settings, bus)
    address = local_address_towards(
        request.entries[0].control.ip, settings.networking.local_control_ip
    )
    checked = await check_image(image, settings.testbed.state_dir)
    needs = await in_passing(None, read_needs, image.file, checked.data_end * SECTOR)
    bus.report(
        ImageChosen(path=str(request.image), size=checked.size, chunks=checked.size // CHUNK)
    )
    stamps = await stamps_to_show(image, request.entries, settings, bus) if request.waits else {}
    journal = Journal(settings.testbed.state_dir, "load", request.limit)
    async with (
        workplace(
            journal,
            request.entries,
            settings,
            bus,
            resets=request.resets,
            patience=request.patience,
        ) as place,
        vouching(
            image, checked.manifest, settings.testbed.state_dir, address, request.entries, bus
        ) as proofs,
    ):
        pace = _Pace.of(request, checked.size, settings)
        engine = make_engine(_consignment(image, request, pace, address, place, settings))
        known = _Known(needs, stamps, proofs, Unchanged(image, checked.edition))
        job = _Load(place, engine, request, settings, pace, known).run
        watches = (place.guardian.watch, known.image.watch)
        companions = (engine.run, *watches, place.tell_progress)
        history, path = History(settings.testbed.state_dir), str(image.path)
        fleet = Fleet(
            "load", place.nodes, bus, retries=request.retries, history=history, image=path
        )
        return await fleet.run(job, request.limit, companions)


@dataclass(frozen=True, slots=True)
class _Pace:
    """How long a node may take for the image, and how long it may say nothing meanwhile."""

    limit: float
    silence: float

    @classmethod
    def of(cls, request: LoadRequest, size: int, settings: Settings) -> "_Pace":
        """Derive it from the size of the image and the bandwidth.

        A node tells of each chunk, but not while it reads back.
        """
        nodes, a_chunk = settings.nodes, 8 / request.bandwidth_mibps
        limit = nodes.silence_timeout + nodes.image_patience * a_chunk * size / CHUNK
        silence = nodes.silence_timeout + SILENT_CHUNKS * a_chunk
        return cls(limit, limit if request.verifies else silence)


def _consignment(
    image: OpenImage,
    request: LoadRequest,
    pace: _Pace,
    address: str,
    place: Workplace,
    settings: Settings,
) -> Consignment:
    return Consignment(
        image=image.path,
        descriptor=image.descriptor,
        size=image.status.st_size,
        nodes=tuple(entry.name for entry in request.entries),
        address=address,
        bandwidth_mibps=request.bandwidth_mibps,
        verifies=request.verifies,
        silence=pace.silence,
        limit=pace.limit,
        settings=settings,
        bus=place.bus,
        guardian=place.guardian,
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the image: its needs, what nodes will show, its proof, if it changes."""

    needs: Needs
    stamps: Mapping[str, str | None]
    proofs: Vouching
    image: Unchanged


class _Load:
    """What is done on one node."""

    def __init__(
        self,
        place: Workplace,
        engine: Engine,
        request: LoadRequest,
        settings: Settings,
        pace: "_Pace",
        known: "_Known",
    ) -> None:
        self._place = place
        self._engine = engine
        self._request = request
        self._settings = settings
        self._pace = pace
        self._needs = known.needs
        self._stamps = known.stamps
        self._proofs = known.proofs
        self._image = known.image
        self._sessions = asyncio.Semaphore(SESSIONS)

    async def run(self, node: Node) -> None:
        """Bring the node into the ramdisk, write the image, reset it onto its disk."""
        await self._place.into_ramdisk(node)
        disk = await node.find_disk(to_write=True)
        proof = await self._proof(node, disk)
        recipient = Recipient(node.name, node.entry.control.ip, disk.path, node.settings, proof)
        limit = self._engine.patience + self._pace.limit
        async with (
            node.enter(Phase.IMAGE, limit, "the image was not written"),
            self._engine.delivery(recipient) as delivery,
        ):
            work = node.write_image(
                delivery.command,
                delivery.transcript,
                delivery.silence,
                verify=self._request.verifies,
            )
            await self._while_unchanged(unless(delivery.alarm(), work), proof)
        if not self._place.resets:
            return
        since = time.monotonic()
        await node.reboot(Phase.BOOT)
        if self._request.waits:
            stamp = self._stamps[node.name]
            await wait_for_boot(node, since, stamp, self._settings, self._sessions, disk=node.disk)

    async def _while_unchanged(
        self, work: Coroutine[Any, Any, None], proof: ramdisk.Proof | None
    ) -> None:
        """Do the work as long as the image is what was checked; raises ImageError.

        That is why a server fails then, and why what a node wrote without proof may be anything.
        """
        try:
            await unless(self._image.alarm(), work)
        except (GatewayError, ImageError):  # or both at once: the image is the reason then
            await self._image.require()
            raise
        if proof is None:
            await self._image.require()

    async def _proof(self, node: Node, disk: Disk) -> ramdisk.Proof | None:
        """Return what proves the image to the program on the node that writes it, if it can.

        Refuses, before that is run, a disk that the image cannot be put on; raises Refused. What an
        image stores for behind the end of the disk, a backup of its partition table, only our
        clients put elsewhere.
        """
        if lack := self._needs.lack_of(disk):
            raise Refused(lack)
        frisbee = node.settings.frisbee
        with_client = frisbee.engine is EngineName.FRISBEE
        program = frisbee.client if with_client else frisbee.imageunzip
        version = await node.version_of(program)
        if self._needs.reaches_beyond(disk) and not version.is_ours:
            raise Refused(
                f"the image has data up to byte {self._needs.data_end}, {disk.path} ends at"
                f" {disk.size}, and {program} on the node is not ours, which would move it"
            )
        return await self._proofs.proof(node, program, version)
