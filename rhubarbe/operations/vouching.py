"""Has each node prove by the manifest that what it writes is the image, where its program can."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from rhubarbe import dialogue
from rhubarbe.concurrency.threads import in_passing
from rhubarbe.gateway.services.manifests import offered
from rhubarbe.node import Node
from rhubarbe.operations.command import Command
from rhubarbe.repository.manifest import KINDS, CheckedImage, ImageManifest, check
from rhubarbe.repository.opening import OpenImage
from rhubarbe.text import sanitise


async def check_image(image: OpenImage, state_dir: Path, kind: str = KINDS[0]) -> CheckedImage:
    """Check the whole image; when cancelled, the threads that read it stop soon."""
    stop = threading.Event()
    try:
        return await in_passing(None, check, image, state_dir, stop, kind)
    finally:
        stop.set()


class Vouching:
    """The manifests of one load: of the usual kind, and of another once a node asks for that."""

    def __init__(
        self,
        image: OpenImage,
        address: str,
        command: Command,
    ) -> None:
        self._image = image
        self._address = address
        self._command = command
        self._readers = [entry.control.ip for entry in command.entries]
        self._stack = contextlib.AsyncExitStack()
        self._proofs: dict[str, dialogue.Proof] = {}
        self._lock = asyncio.Lock()
        self._told: set[str] = set()

    async def proof(
        self, node: Node, program: str, version: dialogue.VersionTranscript
    ) -> dialogue.Proof | None:
        """Return what a program on a node takes to prove the image; if none, None, with a notice.

        `version` is what the program has said of itself. Raises GatewayError, ImageError.
        """
        kinds = [kind for kind in KINDS if kind in version.manifests]
        lack = version.lack or ("" if kinds else "takes none of the digests that are made here")
        if lack:
            self._tell(node, program.split()[0], lack)
            return None
        for kind in kinds:
            if kind in self._proofs:
                return self._proofs[kind]
        async with self._lock:
            if kinds[0] not in self._proofs:
                checked = await check_image(self._image, self._command.state_dir, kinds[0])
                await self.offer(checked.manifest)
        return self._proofs[kinds[0]]

    async def offer(self, manifest: ImageManifest) -> None:
        """Offer a manifest to the nodes, up to the end; raises GatewayError."""
        place = await self._stack.enter_async_context(
            offered(manifest.content, self._address, self._readers)
        )
        self._proofs[manifest.kind] = dialogue.Proof(place, manifest.digest)

    def _tell(self, node: Node, program: str, lack: str) -> None:
        node.note(f"cannot prove what it writes: {program} there {lack}")
        if lack not in self._told:
            self._told.add(lack)
            text = (
                "what some nodes write cannot be proven to be the image:"
                f" {program} on the ramdisk {lack}; {node.name} is the first of them"
            )
            self._command.notice(sanitise(text))

    async def close(self) -> None:
        """Offer nothing any more."""
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def vouching(
    image: OpenImage,
    manifest: ImageManifest,
    address: str,
    command: Command,
) -> AsyncIterator[Vouching]:
    """Offer the manifest of an image at our `address` for the length of the context."""
    made = Vouching(image, address, command)
    try:
        await made.offer(manifest)
        yield made
    finally:
        await made.close()
