"""An outlet of a PDU by SNMP: presets for makes, or OIDs of one's own."""

import asyncio
import re
from contextlib import AbstractAsyncContextManager

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError
from rhubarbe.transports.power import net_snmp
from rhubarbe.transports.power.base import PowerControl, answering
from rhubarbe.transports.power.snmp_values import SnmpValues

READINGS_APART_S = 0.2


class Snmp(PowerControl):
    """One outlet of a PDU."""

    takes = SnmpValues

    def __init__(
        self, values: SnmpValues, answers_within: float, networking: NetworkingSettings
    ) -> None:
        self.name = f"{values.address} outlet {values.outlet}"
        self._said = values
        self._make = values.made
        self._within = answers_within

    @classmethod
    def misfit(cls, values: SnmpValues) -> str:
        """Say what does not fit together."""
        return values.misfit()

    @classmethod
    def outlet(cls, values: SnmpValues, networking: NetworkingSettings) -> object:
        """Return the outlet, whoever asks, and by whatever version."""
        return values.address, values.port, values.at(values.made.state)

    async def is_on(self) -> bool:
        """Ask for the power state."""
        async with self._answering("status"):
            return await self._is_on("status")

    async def send(self, order: str) -> None:
        """Send an order; raises CardError unless it is accepted.

        A reset is off, seen off, on, where the PDU has none.
        """
        if order not in ("on", "off", "reset"):
            raise CardError(f"cannot do {order}: no control of its kind can")
        async with self._answering(order):
            if order in self._make.orders:
                await self._set(order, order)
                return
            await self._set(order, "off")
            while await self._is_on(order):  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(READINGS_APART_S)
            await self._set(order, "on")

    def _answering(self, verb: str) -> AbstractAsyncContextManager[None]:
        # An agent that is asked by a wrong community says nothing at all.
        hint = "" if self._said.version == "3" else ": it refuses so whom it does not know"
        return answering(verb, self._within, hint)

    async def _is_on(self, verb: str) -> bool:
        make = self._make
        answer = await net_snmp.get(self._said, verb, self._said.at(make.state))
        known = {**dict.fromkeys(make.on, True), **dict.fromkeys(make.off, False)}
        if not re.fullmatch(r"-?[0-9]{1,10}", answer) or int(answer) not in known:
            values = ", ".join(map(str, sorted(known)))
            raise CardError(f"answers {verb} with {answer[:40]!r}, expected one of {values}")
        return known[int(answer)]

    async def _set(self, verb: str, order: str) -> None:
        oid, value = self._make.orders[order]
        once = order == "reset"  # a second one would be done, too
        await net_snmp.set_(self._said, verb, self._said.at(oid), value, once=once)
