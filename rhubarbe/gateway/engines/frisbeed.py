"""The image server as a child process, on a multicast group and port that nobody else uses.

Ours or Emulab's, which take the same options. The server itself says when it is ready: both write
`group:port` where `-A` tells them, here into a pipe. Ours is told of other bandwidths meanwhile, by
another pipe, of which the environment has the number; Emulab's keeps to its first.
"""

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from rhubarbe.bus import Bus
from rhubarbe.config.settings import FrisbeeSettings, NetworkingSettings
from rhubarbe.errors import GatewayError
from rhubarbe.events import ServerSaid
from rhubarbe.gateway.engines.base import BITS_PER_MIBIT
from rhubarbe.gateway.engines.channels import MulticastChannel, on_a_free_channel
from rhubarbe.gateway.processes.children import Child, pipe, run_child
from rhubarbe.gateway.processes.guardian import Guardian
from rhubarbe.gateway.processes.programs import find_program

PORT_IN_USE = 98
START_LIMIT_S = 15.0
# What our server looks for in its environment: see `rhubarbe-frisbeed --help`.
RATES = "FRISBEED_RATES"


class Frisbeed:
    """A running image server; made by `serve`, which also ends it."""

    def __init__(self, child: Child, channel: MulticastChannel, rates: int) -> None:
        """Tell it of other bandwidths by the descriptor `rates`."""
        self.channel = channel
        self.pid = child.pid
        self.alarm = child.alarm
        self._rates = rates

    def set_bandwidth(self, mibps: int) -> None:
        """Have it send so fast from now on, if it is ours."""
        with contextlib.suppress(OSError):  # it has ended, or does not read
            os.write(self._rates, b"%d\n" % (mibps * BITS_PER_MIBIT))


@contextlib.asynccontextmanager
async def serve(  # noqa: PLR0913 - one argument a thing that it needs
    image: Path,
    *,
    address: str,
    bandwidth_mibps: int,
    programs: FrisbeeSettings,
    networking: NetworkingSettings,
    bus: Bus,
    guardian: Guardian | None = None,
    keeps: Sequence[int] = (),
    tell: Callable[[str], None] | None = None,
) -> AsyncIterator[Frisbeed]:
    """Serve an image from our `address` for the length of the context; raises GatewayError.

    One channel after the other is tried, until the server takes one. The guardian, if any, knows
    the server from its first moment on. The server inherits the descriptors that it `keeps`, and
    its lines go to `tell`, if that is given, else to the bus.
    """
    arguments = [
        find_program(programs.server),
        *("-i", address, "-W", str(bandwidth_mibps * BITS_PER_MIBIT)),
        *shlex.split(programs.server_options),
    ]

    def start(channel: MulticastChannel) -> AbstractAsyncContextManager[Frisbeed | None]:
        return _started(arguments, image, channel, tell or _teller(bus), guardian, keeps)

    async with on_a_free_channel(start, networking, bus, bandwidth_mibps) as server:
        yield server


def _teller(bus: Bus) -> Callable[[str], None]:
    return lambda line: bus.report(ServerSaid(line=line))


@contextlib.asynccontextmanager
async def _started(
    arguments: list[str],
    image: Path,
    channel: MulticastChannel,
    tell: Callable[[str], None],
    guardian: Guardian | None,
    keeps: Sequence[int],
) -> AsyncIterator[Frisbeed | None]:
    """Run a server, and yield it once it says that it is ready; None when its port is taken."""
    reader = asyncio.StreamReader()
    where = ["-m", channel.group, "-p", str(channel.port)]
    async with (
        _rates() as (heard, rates),
        pipe(lambda: asyncio.StreamReaderProtocol(reader)) as ready,
        run_child(
            [*arguments, *where, "-A", f"/dev/fd/{ready.fileno()}", str(image)],
            tell,
            guardian,
            name="the image server",
            pass_fds=[ready.fileno(), heard, *keeps],
            environ={RATES: str(heard)},
        ) as child,
    ):
        ready.close()
        is_ready = await _is_ready(child, reader, arguments[0])
        yield Frisbeed(child, channel, rates) if is_ready else None


@contextlib.asynccontextmanager
async def _rates() -> AsyncIterator[tuple[int, int]]:
    """Yield the ends of a pipe by which the server hears of other bandwidths."""
    heard, rates = os.pipe()
    try:
        os.set_blocking(rates, False)
        yield heard, rates
    finally:
        os.close(heard)
        os.close(rates)


async def _is_ready(child: Child, reader: asyncio.StreamReader, program: str) -> bool:
    """Wait until the server says that it serves; false where its port is taken."""
    try:
        async with asyncio.timeout(START_LIMIT_S):
            if await reader.readline():
                return True
    except TimeoutError as error:
        raise GatewayError(
            f"the image server did not say in {START_LIMIT_S:g} s that it is ready"
        ) from error
    if (status := await child.ended()) == PORT_IN_USE:
        return False
    raise GatewayError(f"the image server {program} ended with status {status}: {child.last_line}")
