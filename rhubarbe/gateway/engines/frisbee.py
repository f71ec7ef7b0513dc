"""The frisbee engine: one server for all, and a node may begin at any moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rhubarbe import dialogue
from rhubarbe.gateway.engines.base import Consignment, Delivery, OnDemand, Recipient
from rhubarbe.gateway.engines.frisbeed import serve


class Frisbee:
    """frisbeed here, frisbee on the nodes."""

    def __init__(self, consignment: Consignment) -> None:
        self._consignment = consignment
        self.limit = consignment.limit
        self._server = OnDemand(
            lambda: serve(
                consignment.file,
                address=consignment.address,
                bandwidth_mibps=consignment.bandwidth_mibps,
                programs=consignment.settings.frisbee,
                networking=consignment.settings.networking,
                bus=consignment.bus,
                guardian=consignment.guardian,
                keeps=[consignment.image.descriptor],
                tell=consignment.tell,
            )
        )
        self.run = self._server.run

    @asynccontextmanager
    async def delivery(self, to: Recipient) -> AsyncIterator[Delivery]:
        """Wait for the server; raises GatewayError."""
        server = await self._server.ready()
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
        yield Delivery(
            command, dialogue.FrisbeeTranscript(), self._consignment.silence, server.alarm
        )
