"""A node's power: orders to what controls it, each of which is seen to be done.

A control that says ok is not believed: after each order it is asked again, and after `off` or
`reset` the node must have gone away.
"""

import asyncio
from collections.abc import Awaitable, Callable

from rhubarbe.config import Settings
from rhubarbe.errors import CardError, NodeError
from rhubarbe.events import Phase
from rhubarbe.node.doors import Doors
from rhubarbe.node.steps import Steps
from rhubarbe.node.tries import happens
from rhubarbe.transports.power import PowerControl
from rhubarbe.transports.presence import Presence

# A power state is believed once two readings this far apart agree.
READINGS_APART_S = 0.2


class Power:
    """What switches one node, and how that is seen to be done."""

    def __init__(
        self,
        control: PowerControl,
        look: Callable[[], Awaitable[Presence]],
        settings: Settings,
        doors: Doors,
        steps: Steps,
    ) -> None:
        """Look by `look` where the node answers now."""
        self.name = control.name
        self._control = control
        self._look = look
        self._limits = settings.nodes
        self._doors = doors
        self._steps = steps

    async def ask(self, question: str) -> str:
        """Return what the control answers to a question; raises CardError."""
        return await self._control.ask(question)

    async def is_on(self) -> bool:
        """Return whether the node is on, once two readings agree; raises CardError."""
        reading = await self._control.is_on()
        while True:
            await asyncio.sleep(READINGS_APART_S)
            again = await self._control.is_on()
            if again == reading:
                return reading
            reading = again

    async def is_off(self) -> bool:
        """Return whether the node is off, once two readings agree; raises CardError."""
        return not await self.is_on()

    async def turn_on(self) -> None:
        """Switch the node on, in its turn; raises CardError."""
        await self._doors.turn()
        async with self._steps.enter(Phase.POWER):
            await self._send("on")
            await self._require(self.is_on, "says ok to on, but that the node is off")

    async def turn_off(self) -> None:
        """Switch the node off; raises CardError."""
        is_off, has_left = await self._turned_off(await self._look())
        if not is_off:
            raise CardError("says ok to off, but that the node is on")
        if not has_left:
            raise CardError("says ok to off, but the node stays up")

    async def switch_usrp(self, verb: str) -> None:
        """Switch the USRP of the node by `usrpon` or `usrpoff`; raises CardError."""

        async def is_done() -> bool:
            return await self.ask("usrpstatus") == verb

        async with self._steps.enter(Phase.POWER):
            await self._send(verb)
            await self._require(is_done, f"says ok to {verb}, but does not do it")

    async def reset(self) -> None:
        """Restart a node that is on, as a phase; raises NodeError for one that is off."""
        async with self._steps.enter(Phase.POWER):
            if await self.is_off():
                raise NodeError("is off, which a reset does not change: rhubarbe-on does")
        await self.reboot(Phase.RESET)

    async def reboot(self, phase: Phase) -> None:
        """Restart the node, and return once it was seen to go away; raises NodeError."""
        await self._doors.turn()
        limit_s = self._limits.reset_timeout
        async with self._steps.enter(phase, limit_s, "the node was not seen to restart"):
            try:
                await self._restart()
            except CardError as error:
                raise CardError(f"power card {self.name} {error}") from error

    async def _restart(self) -> None:
        is_on = await self.is_on()
        presence = await self._look()
        if not is_on:
            if not await self._departs(presence):
                raise CardError("says that the node is off, but the node stays up")
            await self._send("on")
            return
        await self._send("reset")
        if not presence:
            self._steps.note("answered nowhere before the reset")
        elif not await self._departs(presence):
            self._steps.note("was not seen to go away: switching it off, then on")
            await self._off_and_on(presence)

    async def _off_and_on(self, presence: Presence) -> None:
        """Restart a node whose control ignored the reset, or only said that it did it."""
        is_off, has_left = await self._turned_off(presence)
        if not has_left:
            raise NodeError(
                f"power card {self.name} says ok to reset and to off, but the node stays up"
            )
        if not is_off:
            raise CardError("says ok to off, but that the node is on")
        await self._send("on")

    async def _turned_off(self, presence: Presence) -> tuple[bool, bool]:
        """Switch the node off; tell whether the control shows that, and whether the node left."""
        await self._send("off")
        is_off = has_left = False

        async def is_done() -> bool:
            nonlocal is_off, has_left
            has_left = await presence.has_left()
            is_off = await self.is_off()
            return is_off and has_left

        await self._happens(is_done)
        return is_off, has_left

    async def _send(self, order: str) -> None:
        await self._control.send(order)
        self._steps.note(f"{self.name} says ok to {order}")

    async def _departs(self, presence: Presence) -> bool:
        """Tell whether the node goes away as soon as after a reset it has to."""
        return await self._happens(presence.has_left)

    async def _require(self, is_done: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        """Return once it is done; raises CardError with the words `otherwise`, after a while."""
        if not await self._happens(is_done):
            raise CardError(otherwise)

    async def _happens(self, is_done: Callable[[], Awaitable[bool]]) -> bool:
        return await happens(is_done, self._limits.idle_after_reset, self._limits.probe_interval)
