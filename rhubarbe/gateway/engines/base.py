"""What an engine is: one way to bring an image from this gateway to the nodes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from rhubarbe import dialogue
from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import GatewayError
from rhubarbe.events import ServerSaid
from rhubarbe.gateway.engines.shares import Share, sending
from rhubarbe.gateway.processes.guardian import Guardian
from rhubarbe.ndz.header import CHUNK

S = TypeVar("S")
# How many chunks may pass by on the wire without a word of the node.
SILENT_CHUNKS = 10
BITS_PER_MIBIT = 1 << 20


class HeldImage(Protocol):
    """An image that is open: what is served is what was checked, whatever has its name by now."""

    @property
    def path(self) -> Path:
        """How it is called."""

    @property
    def file(self) -> str:
        """A path by which we open that very file, as do children that keep its descriptor."""

    @property
    def descriptor(self) -> int:
        """The open file."""


class Paces:
    """The shares by which an image is sent now: as a rule one, but sessions may overlap."""

    def __init__(self) -> None:
        self.shares: list[Share] = []

    def now(self) -> float:
        """Tell which part of the bandwidth that was asked for there is, from 0 to 1."""
        return min((share.pace for share in self.shares), default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consignment:
    """What is to be brought where: an image of `size` bytes, from our `address` to the nodes."""

    image: HeldImage
    size: int
    nodes: tuple[str, ...]
    address: str
    bandwidth_mibps: int
    verifies: bool
    settings: Settings
    bus: Bus
    guardian: Guardian
    paces: Paces = field(default_factory=Paces)

    @asynccontextmanager
    async def share(self) -> AsyncIterator[Share]:
        """Count as one that sends, and learn what that leaves for us, as long as the context."""
        capacity = self.settings.networking.bandwidth
        wanted = self.bandwidth_mibps
        async with sending(self.settings.testbed.state_dir, wanted, capacity) as share:
            self.paces.shares.append(share)
            try:
                yield share
            finally:
                self.paces.shares.remove(share)

    @property
    def silence(self) -> float:
        """How many seconds a node may say nothing: it tells of chunks, but not what it verifies."""
        if self.verifies:
            return self.limit
        passing = SILENT_CHUNKS * self._seconds_a_chunk / self.paces.now()
        return self.settings.nodes.silence_timeout + passing

    @property
    def limit(self) -> float:
        """How many seconds a node may take for the image, at the bandwidth that was asked for."""
        nodes = self.settings.nodes
        return nodes.silence_timeout + nodes.image_patience * self._seconds_a_chunk * self.chunks

    @property
    def _seconds_a_chunk(self) -> float:
        return 8 / self.bandwidth_mibps

    @property
    def chunks(self) -> int:
        """How many chunks the image has."""
        return self.size // CHUNK

    @property
    def file(self) -> Path:
        """Where the image is read, by us and by children that keep its descriptor."""
        return Path(self.image.file)

    def tell(self, line: str) -> None:
        """Report what a server says, of the image by its name."""
        self.bus.report(ServerSaid(line=line.replace(self.image.file, str(self.image.path))))


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one node has to run, how its words are read, and what ends its work in failure.

    `silence` is how many seconds it may say nothing.
    """

    command: str
    transcript: dialogue.ImageTranscript
    silence: float
    alarm: Callable[[], Coroutine[Any, Any, NoReturn]]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A node that the image is brought to: which disk, by which programs, proven by what."""

    node: str
    ip: str
    disk: str
    settings: Settings
    proof: dialogue.Proof | None = None

    def unzip(self, *, verify: bool) -> dialogue.Unzip:
        """Return how imageunzip writes the image there."""
        return dialogue.Unzip(self.settings.frisbee.imageunzip, self.disk, self.proof, verify)


class Engine(Protocol):
    """One engine, for the length of one load."""

    limit: float
    """How many seconds a node may take for the image, with waiting until it is its turn."""

    pace: Callable[[], float]
    """Tells by what part of the bandwidth that was asked for it sends, so that limits follow."""

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
            self._running.exception()  # retrieve it, or asyncio logs it as never retrieved

    async def ready(self) -> S:
        """Ask for the server and return it once it serves; raises GatewayError."""
        self._wanted.set()
        return await asyncio.shield(self._running)
