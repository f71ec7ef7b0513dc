"""The udpcast engine: nodes gather, then all of them receive the image at once.

Nobody can join later: who comes then, or failed and comes again, waits for the next session, which
begins when the one before is over.
"""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NoReturn

from rhubarbe import dialogue
from rhubarbe.errors import GatewayError
from rhubarbe.events import NodeFailed
from rhubarbe.gateway.engines.base import BITS_PER_MIBIT, Consignment, Delivery, Recipient
from rhubarbe.gateway.engines.channels import MulticastChannel, on_a_free_channel
from rhubarbe.gateway.processes.children import Child, run_child
from rhubarbe.gateway.processes.programs import find_program

START_LIMIT_S = 10.0
# What the sender says once it has its ports, and where another has them.
READY = "UDP sender for "
IN_USE = "Address already in use"
# Seconds from the first receiver on; the others, told to start at the same moment, come within.
CONNECT_WITHIN_S = 20
PORTS_A_CHANNEL = 2
# How often a receiver that does not answer is asked before it is dropped, and how long it holds up
# all others meanwhile. With far fewer tries, one whose disk is slow would be dropped, too.
RETRIES = 30
HELD_UP_S = 30.0


class UdpSender:
    """One running udp-sender, for some nodes."""

    def __init__(self, child: Child, channel: MulticastChannel) -> None:
        self.channel = channel
        self._child = child

    async def alarm(self) -> NoReturn:
        """Wait for a bad end; a good one comes before the nodes have written all."""
        if status := await self._child.ended():
            raise self._child.failure(status)
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets")


class _Guest:
    """A node that is ready for a session, up to the end of its work in it."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.sender: asyncio.Future[UdpSender] = asyncio.get_running_loop().create_future()
        self.left = asyncio.Event()


class Udpcast:
    """udp-sender here; udp-receiver and imageunzip on the nodes."""

    def __init__(self, consignment: Consignment) -> None:
        self._consignment = consignment
        self._udpcast = consignment.settings.udpcast
        self._expected = set(consignment.nodes)
        self._events = consignment.bus.subscribe()
        self._waiting: list[_Guest] = []
        self._changed = asyncio.Event()
        # That of the session before, which it may have to wait for, and its own.
        self.limit = self._udpcast.gather + 2 * consignment.limit
        self.pace = consignment.paces.now

    async def run(self) -> None:
        """Hold one session after the other until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            while True:
                await self._session(await self._gathered())

    async def _follow(self) -> None:
        """Hear which nodes are given up: nobody need wait for them."""
        async for event in self._events:
            if isinstance(event, NodeFailed):
                self._expected.discard(event.node)
                self._changed.set()

    @asynccontextmanager
    async def delivery(self, to: Recipient) -> AsyncIterator[Delivery]:
        """Wait for the next session; raises GatewayError."""
        guest = _Guest(to.node)
        self._waiting.append(guest)
        self._changed.set()
        try:
            sender = await guest.sender
            yield self._delivery(to, sender)
            self._expected.discard(to.node)
        finally:
            guest.left.set()
            if guest in self._waiting:
                self._waiting.remove(guest)
            self._changed.set()

    def _delivery(self, to: Recipient, sender: UdpSender) -> Delivery:
        channel, udpcast = sender.channel, to.settings.udpcast
        receiver = shlex.join(
            [
                *("--nokbd", "--no-progress", "--portbase", str(channel.port)),
                *("--interface", to.ip, "--mcast-rdv-address", channel.group),
                *("--start-timeout", str(2 * CONNECT_WITHIN_S)),
            ]
        )
        command = dialogue.receive_by_udpcast(
            f"{udpcast.receiver} {receiver} {udpcast.receiver_options}".strip(),
            to.unzip(verify=self._consignment.verifies),
        )
        return Delivery(
            command,
            dialogue.UnzipTranscript(self._consignment.chunks),
            self._consignment.silence + HELD_UP_S,
            sender.alarm,
        )

    async def _gathered(self) -> list[_Guest]:
        """Wait for a first node, then for a while for all others that may still come."""
        while not self._waiting:
            await self._change()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._udpcast.gather):
                while self._expected - {guest.node for guest in self._waiting}:
                    await self._change()
        guests, self._waiting = self._waiting, []
        return guests

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _session(self, guests: list[_Guest]) -> None:
        """Serve these nodes; one that failed leaves, and the others go on."""
        try:
            async with _serve(self._consignment, len(guests)) as sender:
                for guest in guests:
                    if not guest.sender.done():
                        guest.sender.set_result(sender)
                for guest in guests:
                    await guest.left.wait()
        except GatewayError as error:
            for guest in guests:
                if not guest.sender.done():
                    guest.sender.set_exception(error)
                    guest.sender.exception()  # retrieve it, or asyncio logs it as never retrieved


@asynccontextmanager
async def _serve(consignment: Consignment, receivers: int) -> AsyncIterator[UdpSender]:
    """Run a sender for so many receivers, on ports that nobody else uses; raises GatewayError.

    It keeps to the share of the bandwidth that it begins with.
    """
    async with consignment.share() as share:
        own = replace(consignment, bandwidth_mibps=share.mibps)
        with share.receiver():
            async with on_a_free_channel(
                lambda channel: _started(own, channel, receivers),
                own.settings.networking,
                own.bus,
                own.bandwidth_mibps,
                PORTS_A_CHANNEL,
            ) as sender:
                yield sender


@asynccontextmanager
async def _started(
    consignment: Consignment, channel: MulticastChannel, receivers: int
) -> AsyncIterator[UdpSender | None]:
    """Run a sender, and yield it once it has its ports; None when they are taken."""
    ready = asyncio.Event()

    def tell(line: str) -> None:
        consignment.tell(line)
        if line.startswith(READY):
            ready.set()

    command = _command(consignment, channel, receivers)
    async with run_child(
        command,
        tell,
        consignment.guardian,
        name="the image server",
        pass_fds=[consignment.image.descriptor],
    ) as child:
        if await child.until(ready, START_LIMIT_S):
            yield UdpSender(child, channel)
        elif IN_USE in child.last_line:
            yield None
        else:
            raise child.failure(await child.ended())


def _command(consignment: Consignment, channel: MulticastChannel, receivers: int) -> list[str]:
    udpcast = consignment.settings.udpcast
    return [
        find_program(udpcast.sender, "sender in [udpcast]"),
        *("--nokbd", "--no-progress", "--file", str(consignment.file)),
        *("--interface", consignment.address, "--portbase", str(channel.port)),
        *("--mcast-rdv-address", channel.group, "--mcast-data-address", channel.group),
        *("--max-bitrate", str(consignment.bandwidth_mibps * BITS_PER_MIBIT)),
        *("--min-receivers", str(receivers), "--max-wait", str(CONNECT_WITHIN_S)),
        *("--start-timeout", str(2 * CONNECT_WITHIN_S), "--retries-until-drop", str(RETRIES)),
        *shlex.split(udpcast.sender_options),
    ]
