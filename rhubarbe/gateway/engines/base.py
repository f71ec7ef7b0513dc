"""What an engine is: one way to bring an image from this gateway to the nodes."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from rhubarbe import ramdisk
from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import GatewayError
from rhubarbe.events import ServerSaid
from rhubarbe.gateway.processes.guardian import Guardian
from rhubarbe.ndz.header import CHUNK

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consignment:
    """What is to be brought where: an image of `size` bytes, from our `address` to the nodes.

    What is served is the image as it was opened for the check, if a `descriptor` is given.
    `silence` is how many seconds a node may say nothing, `limit` how many it may take in all.
    """

    image: Path
    descriptor: int | None = None
    size: int
    nodes: tuple[str, ...]
    address: str
    bandwidth_mibps: int
    verifies: bool
    silence: float
    limit: float
    settings: Settings
    bus: Bus
    guardian: Guardian

    @property
    def file(self) -> Path:
        """Where the image is read, by us and by children that keep what is `kept`."""
        return self.image if self.descriptor is None else Path(f"/proc/self/fd/{self.descriptor}")

    @property
    def kept(self) -> list[int]:
        """What children must keep open to read it."""
        return [] if self.descriptor is None else [self.descriptor]

    def tell(self, line: str) -> None:
        """Report what a server says, of the image by its name."""
        self.bus.report(ServerSaid(line=line.replace(str(self.file), str(self.image))))

    @property
    def chunks(self) -> int:
        """How many chunks the image has."""
        return self.size // CHUNK


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one node has to run, how its words are read, and what tells that it is in vain.

    What is served is the image as it was opened for the check, if a `descriptor` is given.
    `silence` is how many seconds it may say nothing.
    """

    command: str
    transcript: ramdisk.ImageTranscript
    silence: float
    alarm: Callable[[], Coroutine[Any, Any, NoReturn]]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A node that the image is brought to: which disk, by which programs, proven by what."""

    node: str
    ip: str
    disk: str
    settings: Settings
    proof: ramdisk.Proof | None = None

    def unzip(self, *, verify: bool) -> ramdisk.Unzip:
        """Return how imageunzip writes the image there."""
        return ramdisk.Unzip(self.settings.frisbee.imageunzip, self.disk, self.proof, verify)


class Engine(Protocol):
    """One engine, for the length of one load."""

    patience: float
    """How many seconds a node may have to wait until it is its turn."""

    async def run(self) -> None:
        """Serve when somebody is ready for it, until cancelled: it runs beside the nodes' work."""

    def delivery(self, to: Recipient) -> AbstractAsyncContextManager[Delivery]:
        """Wait until the node may begin, which is to be done within the context.

        Raises GatewayError where the image is not served.
        """


class OnDemand(Generic[S]):
    """A server for all nodes, which starts when the first of them is ready for it."""

    def __init__(self, serve: Callable[[], AbstractAsyncContextManager[S]]) -> None:
        self._serve = serve
        self._wanted = asyncio.Event()
        self._running: asyncio.Future[S] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve from the moment that somebody wants it until cancelled."""
        await self._wanted.wait()
        try:
            async with self._serve() as server:
                self._running.set_result(server)
                await asyncio.Event().wait()
        except GatewayError as error:
            # Every node that waits for the server fails with this reason.
            self._running.set_exception(error)
            self._running.exception()  # or nobody waits any more

    async def ready(self) -> S:
        """Ask for the server and return it once it serves; raises GatewayError."""
        self._wanted.set()
        return await asyncio.shield(self._running)
