"""The multicast groups and ports on which an image can be served, by one server each."""

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeVar

from rhubarbe.bus import Bus
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import GatewayError
from rhubarbe.events import ImageServed

Server = TypeVar("Server")


@dataclass(frozen=True, slots=True)
class MulticastChannel:
    """Where an image is served."""

    group: str
    port: int


def channels(networking: NetworkingSettings, ports: int = 1) -> Iterator[MulticastChannel]:
    """Yield each channel once, from a random one on; each has so many ports, from an even one on.

    A client left over from a session that died must not meet the next session in its place.
    """
    base = int(networking.pattern_port.partition("+")[0])
    ranks = list(range(1, networking.pattern_size + 1))
    random.shuffle(ranks)
    for rank in ranks:
        port = base // ports * ports + rank * ports
        yield MulticastChannel(networking.pattern_multicast.replace("*", str(rank)), port)


@contextlib.asynccontextmanager
async def on_a_free_channel(
    start: Callable[[MulticastChannel], AbstractAsyncContextManager[Server | None]],
    networking: NetworkingSettings,
    bus: Bus,
    bandwidth_mibps: int,
    ports: int = 1,
) -> AsyncIterator[Server]:
    """Start a server on one channel after the other, until it is not None; report where it serves.

    Raises GatewayError where others use all channels.
    """
    for channel in channels(networking, ports):
        async with start(channel) as server:
            if server is None:
                continue
            bus.report(
                ImageServed(group=channel.group, port=channel.port, bandwidth_mibps=bandwidth_mibps)
            )
            yield server
            return
    raise GatewayError(
        f"all {networking.pattern_size} groups and ports are in use; wait, or raise pattern_size"
    )
