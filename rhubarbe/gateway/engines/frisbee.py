"""The frisbee engine: one server for all, and a node may begin at any moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rhubarbe import dialogue
from rhubarbe.gateway.engines.base import Consignment, Delivery, OnDemand, Recipient
from rhubarbe.gateway.engines.frisbeed import Frisbeed, serve
from rhubarbe.gateway.engines.shares import Share


class Frisbee:
    """frisbeed here, frisbee on the nodes."""

    def __init__(self, consignment: Consignment) -> None:
        self._consignment = consignment
        self.limit = consignment.limit
        self.pace = consignment.paces.now
        self._server = OnDemand(self._serve)
        self.run = self._server.run

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[tuple[Frisbeed, Share]]:
        """Serve at our share of the gateway's bandwidth, whatever that becomes."""
        consignment = self._consignment
        async with (
            consignment.share() as share,
            serve(
                consignment.file,
                address=consignment.address,
                bandwidth_mibps=share.mibps,
                programs=consignment.settings.frisbee,
                networking=consignment.settings.networking,
                bus=consignment.bus,
                guardian=consignment.guardian,
                keeps=[consignment.image.descriptor],
                tell=consignment.tell,
            ) as server,
            asyncio.TaskGroup() as group,
        ):

            def change(mibps: int) -> None:
                server.set_bandwidth(mibps)
                who = f"{share.senders} loads send" if share.senders > 1 else "no other load sends"
                consignment.tell(f"{mibps} Mibit/s from now on: {who}")

            following = group.create_task(share.follow(change))
            try:
                yield server, share
            finally:
                following.cancel()

    @asynccontextmanager
    async def delivery(self, to: Recipient) -> AsyncIterator[Delivery]:
        """Wait for the server; raises GatewayError."""
        server, share = await self._server.ready()
        command = dialogue.write_image(
            to.settings.frisbee.client,
            to.ip,
            server.channel.group,
            server.channel.port,
            to.disk,
            server=self._consignment.address,
            proof=to.proof,
            verify=self._consignment.verifies,
        )
        with share.receiver():
            yield Delivery(
                command, dialogue.FrisbeeTranscript(), self._consignment.silence, server.alarm
            )
