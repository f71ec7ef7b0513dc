"""The frisbee engine: one server for all, and a node may begin at any moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rhubarbe import ramdisk
from rhubarbe.gateway.engines.base import Consignment, Delivery, OnDemand
from rhubarbe.gateway.frisbeed import serve


class Frisbee:
    """frisbeed here, frisbee on the nodes."""

    patience = 0.0

    def __init__(self, consignment: Consignment) -> None:
        self._consignment = consignment
        self._server = OnDemand(
            lambda: serve(
                consignment.image,
                address=consignment.address,
                bandwidth_mibps=consignment.bandwidth_mibps,
                programs=consignment.settings.frisbee,
                networking=consignment.settings.networking,
                bus=consignment.bus,
                guardian=consignment.guardian,
            )
        )
        self.run = self._server.run

    @asynccontextmanager
    async def delivery(self, node: str, ip: str) -> AsyncIterator[Delivery]:
        """Wait for the server; raises GatewayError."""
        server = await self._server.ready()
        frisbee, session = self._consignment.settings.frisbee, server.session
        command = ramdisk.write_image(
            frisbee.client,
            ip,
            session.group,
            session.port,
            frisbee.hard_drive,
            verify=self._consignment.verifies,
        )
        yield Delivery(
            command, ramdisk.FrisbeeTranscript(), self._consignment.silence, server.alarm
        )
