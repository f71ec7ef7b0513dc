"""The aria2 engine: BitTorrent, for nodes that no multicast reaches; a node may begin any time.

Nodes give each other what they have. Each needs room for the whole image, in memory as a rule.
"""

import asyncio
import contextlib
import os
import shlex
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rhubarbe import dialogue
from rhubarbe.errors import GatewayError
from rhubarbe.events import ImageServed
from rhubarbe.gateway.engines.base import (
    BITS_PER_MIBIT,
    Consignment,
    Delivery,
    OnDemand,
    Recipient,
)
from rhubarbe.gateway.engines.shares import Share
from rhubarbe.gateway.engines.torrent import Torrent, make_torrent
from rhubarbe.gateway.engines.tracker import ANNOUNCE_PATH, TORRENT_PATH, track
from rhubarbe.gateway.processes.children import Child, run_child
from rhubarbe.gateway.processes.programs import find_program

START_LIMIT_S = 15.0
# No file of the user, no peers from elsewhere, no questions to anybody but our tracker.
COMMON = (
    *("--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"),
    *("--disable-ipv6", "--no-netrc", "--all-proxy=", "--enable-color=false"),
    *("--summary-interval=0", "--console-log-level=warn", "--allow-overwrite"),
)


@dataclass(frozen=True, slots=True)
class _Seeder:
    """The running seeder, and where the torrent is."""

    child: Child
    url: str
    share: Share


class Aria2:
    """A tracker and a seeding aria2c here; aria2c and imageunzip on the nodes."""

    def __init__(self, consignment: Consignment) -> None:
        self._consignment = consignment
        self.limit = consignment.limit
        self.pace = consignment.paces.now
        self._seeder = OnDemand(lambda: _share_and_seed(consignment))
        self.run = self._seeder.run

    @asynccontextmanager
    async def delivery(self, to: Recipient) -> AsyncIterator[Delivery]:
        """Wait for the seeder; raises GatewayError."""
        seeder = await self._seeder.ready()
        consignment, aria2 = self._consignment, to.settings.aria2
        stalled = max(1, int(consignment.silence))
        options = shlex.join(
            [
                *(*COMMON, "--follow-torrent=mem", "--file-allocation=none", "--seed-time=0"),
                f"--bt-stop-timeout={stalled}",
            ]
        )
        command = dialogue.fetch_by_aria2(
            f"{aria2.client} {options} {aria2.client_options}".strip(),
            seeder.url,
            aria2.directory,
            consignment.size,
            to.unzip(verify=consignment.verifies),
        )
        with seeder.share.receiver():
            yield Delivery(
                command,
                dialogue.AriaTranscript(consignment.chunks),
                consignment.silence,
                seeder.child.alarm,
            )


@asynccontextmanager
async def _share_and_seed(consignment: Consignment) -> AsyncIterator[_Seeder]:
    """Track and seed the image, at the share of the bandwidth that this begins with."""
    async with (
        consignment.share() as share,
        _seed(replace(consignment, bandwidth_mibps=share.mibps), share) as seeder,
    ):
        yield seeder


@asynccontextmanager
async def _seed(consignment: Consignment, share: Share) -> AsyncIterator[_Seeder]:
    """Track and seed the image; raises GatewayError.

    Image and torrent are given to the seeder as open files, by number, so that it can write
    neither, and nothing is left on a disk, however we end.
    """
    async with track(consignment.address) as (tracker, port):
        url = f"http://{consignment.address}:{port}"
        tracker.torrent = await _torrent(consignment.file, f"{url}{ANNOUNCE_PATH}")
        with _open_image(consignment.file) as image, _in_memory(tracker.torrent) as torrent:
            async with run_child(
                _command(consignment, image, torrent),
                consignment.tell,
                consignment.guardian,
                name="the image server",
                pass_fds=[image, torrent],
            ) as child:
                if not await child.until(tracker.seeded, START_LIMIT_S):
                    raise child.failure(await child.ended())
                consignment.bus.report(
                    ImageServed(
                        group=consignment.address,
                        port=port,
                        bandwidth_mibps=consignment.bandwidth_mibps,
                    )
                )
                yield _Seeder(child, f"{url}{TORRENT_PATH}", share)


async def _torrent(image: Path, announce: str) -> Torrent:
    """Make the torrent in a thread, which stops soon when we are cancelled."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(make_torrent, image, dialogue.IMAGE_NAME, announce, stop)
    except OSError as error:
        raise GatewayError(f"{image}: cannot be read: {error.strerror}") from error
    finally:
        stop.set()


@contextlib.contextmanager
def _open_image(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise GatewayError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _in_memory(torrent: Torrent) -> Iterator[int]:
    """Yield the descriptor of a file without a name, with the torrent in it."""
    with os.fdopen(os.memfd_create("torrent"), "wb") as file:
        file.write(torrent.content)
        file.flush()
        yield file.fileno()


def _command(consignment: Consignment, image: int, torrent: int) -> list[str]:
    aria2 = consignment.settings.aria2
    return [
        find_program(aria2.seeder, "seeder in [aria2]"),
        *(*COMMON, "--dir=/dev/fd", f"--index-out=1={image}", "--bt-seed-unverified"),
        *("--seed-ratio=0", "--show-console-readout=false", f"--interface={consignment.address}"),
        f"--max-overall-upload-limit={consignment.bandwidth_mibps * BITS_PER_MIBIT // 8}",
        *shlex.split(aria2.seeder_options),
        f"/dev/fd/{torrent}",
    ]
