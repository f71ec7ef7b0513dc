"""Load: put one image on many nodes at once."""

import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhubarbe import dialogue
from rhubarbe.bus import Bus
from rhubarbe.concurrency.alarm import unless
from rhubarbe.concurrency.threads import in_passing
from rhubarbe.config import Settings
from rhubarbe.config.settings import EngineName
from rhubarbe.disks import NodeDisk
from rhubarbe.errors import GatewayError, ImageError, Refused
from rhubarbe.events import ImageChosen, Phase
from rhubarbe.gateway.engines import Consignment, Engine, Recipient, make_engine, require_program
from rhubarbe.inventory import Entry
from rhubarbe.ndz.header import CHUNK, SECTOR
from rhubarbe.node import Doors, Node
from rhubarbe.node.keys import require_key
from rhubarbe.operations.command import Command
from rhubarbe.operations.proof import stamps_to_show
from rhubarbe.operations.unchanged import Unchanged
from rhubarbe.operations.vouching import Vouching, check_image, vouching
from rhubarbe.operations.wait import wait_for_boot
from rhubarbe.operations.workplace import Workplace, workplace
from rhubarbe.repository import OpenImage
from rhubarbe.repository.manifest import CheckedImage
from rhubarbe.repository.needs import Needs, read_needs


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What to load, where; `resets` is false where the nodes are in the ramdisk already.

    Nodes that another command works on are waited for `lock_wait_s` seconds; a node that failed is
    tried `retries` times more, while the server runs for the others, or for it alone. With
    `verifies` the nodes read their disks again and compare; with `waits` they are waited for until
    they show that they run what was loaded.
    """

    image: Path
    entries: Sequence[Entry]
    limit: float
    bandwidth_mibps: int
    resets: bool = True
    lock_wait_s: float = 0.0
    retries: int = 1
    verifies: bool = False
    waits: bool = False


async def load(
    request: LoadRequest, settings: Settings, bus: Bus, doors: Doors | None = None
) -> None:
    """Load the image on all the nodes; raises RhubarbeError before any node is touched, or never.

    The image is checked to its last chunk first, or was once, and is the same file since; what was
    checked is what is served.
    """
    with OpenImage(request.image, keeps=True) as image:
        command = Command("load", request.entries, request.limit, doors or Doors(settings), bus)
        command.begin()
        await command.require_lease()
        await command.require_secrets()
        require_program(settings)
        if request.waits:
            await require_key(settings, bus)
        address = command.our_address()
        known = await _look_into(image, request, command)
        async with (
            workplace(command, resets=request.resets, lock_wait_s=request.lock_wait_s) as place,
            vouching(image, known.checked.manifest, address, command) as proofs,
        ):
            consignment = Consignment(
                image=image,
                size=known.checked.size,
                nodes=command.names,
                address=address,
                bandwidth_mibps=request.bandwidth_mibps,
                verifies=request.verifies,
                settings=settings,
                bus=bus,
                guardian=place.guardian,
            )
            engine, unchanged = make_engine(consignment), Unchanged(image, known.checked.edition)
            job = _Load(request, place, engine, known, proofs, unchanged).run
            companions = [engine.run, unchanged.watch, place.tell_progress]
            await place.run(job, companions, retries=request.retries, image=str(image.path))


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of an image: what it needs of a disk, and what nodes that run it will show."""

    checked: CheckedImage
    needs: Needs
    stamps: Mapping[str, str | None]


async def _look_into(image: OpenImage, request: LoadRequest, command: Command) -> _Known:
    """Check the whole image, and tell the bus; raises ImageError."""
    checked = await check_image(image, command.state_dir)
    needs = await in_passing(None, read_needs, image.file, checked.data_end * SECTOR)
    chunks = checked.size // CHUNK
    command.bus.report(ImageChosen(path=str(request.image), size=checked.size, chunks=chunks))
    stamps = await stamps_to_show(image, command) if request.waits else {}
    return _Known(checked, needs, stamps)


@dataclass(frozen=True, slots=True)
class _Load:
    """How the image is brought to one node."""

    request: LoadRequest
    place: Workplace
    engine: Engine
    known: _Known
    proofs: Vouching
    image: Unchanged

    async def run(self, node: Node) -> None:
        """Bring the node into the ramdisk, write the image, reset it onto its disk."""
        await self.place.into_ramdisk(node)
        disk = await node.ramdisk.find_disk(to_write=True)
        proof = await self._proof(node, disk)
        await self._write(node, disk, proof)
        if self.request.resets:
            since = time.monotonic()
            await node.power.reboot(Phase.BOOT)
            if self.request.waits:
                await wait_for_boot(node, since, self.known.stamps[node.name], disk)

    async def _write(self, node: Node, disk: NodeDisk, proof: dialogue.Proof | None) -> None:
        recipient = Recipient(node.name, node.entry.control.ip, disk.path, node.settings, proof)
        image = node.enter(Phase.IMAGE, self.engine.limit, "the image was not written")
        async with image as limit:
            with limit.following(self.engine.pace):
                async with self.engine.delivery(recipient) as delivery:
                    work = node.ramdisk.write_image(
                        delivery.command,
                        delivery.transcript,
                        delivery.silence,
                        verify=self.request.verifies,
                    )
                    await self._while_unchanged(unless(delivery.alarm(), work), proof)

    async def _while_unchanged(
        self, work: Coroutine[Any, Any, None], proof: dialogue.Proof | None
    ) -> None:
        """Do the work as long as the image is what was checked; raises ImageError.

        Once it is changed, a server fails, and what a node wrote without proof may be anything.
        """
        try:
            await unless(self.image.alarm(), work)
        except (GatewayError, ImageError):  # if the image has changed, that is the reason to tell
            await self.image.require()
            raise
        if proof is None:
            await self.image.require()

    async def _proof(self, node: Node, disk: NodeDisk) -> dialogue.Proof | None:
        """Return what proves the image to the program on the node that writes it, if it can.

        Raises Refused for a disk that the image cannot be put on, before the program is run. Where
        the image has a backup of its partition table behind the end of the disk, only our programs
        put that elsewhere.
        """
        if lack := self.known.needs.lack_of(disk):
            raise Refused(lack)
        frisbee = node.settings.frisbee
        with_client = frisbee.engine is EngineName.FRISBEE
        program = frisbee.client if with_client else frisbee.imageunzip
        version = await node.ramdisk.version_of(program)
        if self.known.needs.reaches_beyond(disk) and not version.is_ours:
            raise Refused(
                f"the image has data up to byte {self.known.needs.data_end}, {disk.path} ends at"
                f" {disk.size}, and {program} on the node is not ours, which would move it"
            )
        return await self.proofs.proof(node, program, version)
