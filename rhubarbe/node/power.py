"""A node's power: orders to what controls it, each of which is seen to be done.

A control that says ok is not believed: after each order it is asked again, and after `off` or
`reset` the node must have gone away. Where a person does it, that is all there is to see.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from rhubarbe.config import Settings
from rhubarbe.errors import CardError, NodeError
from rhubarbe.events import Notice, Phase
from rhubarbe.node.doors import Doors
from rhubarbe.node.steps import Steps
from rhubarbe.node.tries import happens
from rhubarbe.text import sanitise
from rhubarbe.transports.power import Complaint, Inputs, PowerState
from rhubarbe.transports.presence import Presence

__all__ = ["Complaint", "Power", "PowerState"]

# A power state is believed once two readings this far apart agree.
READINGS_APART_S = 0.2
# What a person is told to do with a node that no control switches.
BY_HAND = {
    "on": "switch on {} now",
    "off": "switch off {} now",
    "reset": "switch {} off and on again now",
}
EITHER = "switch on {} now; where it is on, off first"


class Power:
    """What switches one node, and how that is seen to be done."""

    def __init__(
        self,
        control: Inputs,
        look: Callable[[], Awaitable[Presence]],
        settings: Settings,
        doors: Doors,
        steps: Steps,
    ) -> None:
        """Look by `look` where the node answers now."""
        self.name = control.name
        self.has_usrp = control.has_usrp
        self._control = control
        self._look = look
        self._limits = settings.nodes
        self._patience = settings.nodes.idle_after_reset + control.patience
        self._doors = doors
        self._steps = steps

    async def ask(self, question: str) -> str:
        """Return what the control answers to a question; raises CardError."""
        return await self._control.ask(question)

    async def state(self) -> PowerState:
        """Return the power state, once two readings agree; raises CardError."""
        reading = await self._control.state()
        while True:
            await asyncio.sleep(READINGS_APART_S)
            again = await self._control.state()
            if again is reading:
                return reading
            reading = again

    async def is_off(self) -> bool:
        """Return whether all its inputs are off; raises CardError.

        Where nobody can tell, whether it answers nowhere.
        """
        state = await self.state()
        return state is PowerState.OFF or (state is PowerState.UNKNOWN and not await self._look())

    async def is_on(self) -> bool:
        """Return whether all its inputs are on; raises CardError.

        Where nobody can tell, whether it answers somewhere.
        """
        state = await self.state()
        return state is PowerState.ON or (state is PowerState.UNKNOWN and bool(await self._look()))

    async def turn_on(self) -> str:
        """Switch the node on, in its turn; return what was seen of that. Raises NodeError."""
        await self._doors.turn()
        async with self._steps.enter(Phase.POWER):
            await self._send("on")
            await self._require_on()
        return "answers" if self._control.is_by_hand else "on"

    async def turn_off(self) -> str:
        """Switch the node off; return what was seen of that. Raises NodeError."""
        is_off, has_left = await self._turned_off(await self._look())
        if not is_off:
            raise self._blame(PowerState.OFF, "says ok to off, but that the node is on")
        if not has_left:
            raise self._blame(PowerState.OFF, "says ok to off, but the node stays up")
        return "answers nowhere" if self._control.is_by_hand else "off"

    async def switch_usrp(self, verb: str) -> None:
        """Switch the USRP of the node by `usrpon` or `usrpoff`; raises CardError."""

        async def is_done() -> bool:
            return await self.ask("usrpstatus") == verb

        async with self._steps.enter(Phase.POWER):
            await self._send(verb)
            if not await self._happens(is_done):
                raise CardError(f"says ok to {verb}, but does not do it")

    async def reset(self) -> None:
        """Restart a node that is on, as a phase; raises NodeError for one that is off."""
        async with self._steps.enter(Phase.POWER):
            if await self.state() is PowerState.OFF:
                raise NodeError("is off, which a reset does not change: rhubarbe-on does")
        await self.reboot(Phase.RESET)

    async def reboot(self, phase: Phase) -> None:
        """Restart the node, and return once it was seen to go away; raises NodeError."""
        await self._doors.turn()
        # It may be waited for twice: behind the reset, and behind the off that follows one in vain.
        limit_s = self._limits.reset_timeout + 2 * self._control.patience
        async with self._steps.enter(phase, limit_s, "the node was not seen to restart"):
            try:
                await self._restart()
            except CardError as error:
                card = error.card or self.name
                raise CardError(f"power card {card} {error}", card) from error

    async def _restart(self) -> None:
        state = await self.state()
        presence = await self._look()
        if state is PowerState.OFF:
            if not await self._departs(presence):
                raise CardError("says that the node is off, but the node stays up")
            await self._send("on")
        elif self._control.are_several:
            await self._off_and_on(presence, "off")
        elif state is PowerState.UNKNOWN:
            await self._restart_by_hand(presence)
        else:
            await self._send("reset")
            if not presence:
                self._steps.note("answered nowhere before the reset")
            elif not await self._departs(presence):
                self._steps.note("was not seen to go away: switching it off, then on")
                await self._off_and_on(presence, "reset and to off")

    async def _restart_by_hand(self, presence: Presence) -> None:
        """Have a person restart the node; raises NodeError where that is not seen."""

        async def has_come() -> bool:
            return bool(await self._look())

        if presence:
            await self._send("reset")
            is_seen = await self._departs(presence)
        else:
            await self._send("on", EITHER)
            is_seen = await self._happens(has_come)
        if not is_seen:
            raise self._unseen("go away" if presence else "come")

    async def _off_and_on(self, presence: Presence, orders: str) -> None:
        """Restart a node that has several inputs, or whose control only says ok to the orders."""
        try:
            is_off, has_left = await self._turned_off(presence)
            if not has_left:
                raise self._blame(PowerState.OFF, f"says ok to {orders}, but the node stays up")
            if not is_off:
                raise self._blame(PowerState.OFF, "says ok to off, but that the node is on")
        except NodeError:
            if self._control.are_several:  # where one cannot be switched, the others are on again
                with contextlib.suppress(NodeError):
                    await self._send("on")
            raise
        await self._send("on")
        if self._control.are_several:
            await self._require_on()

    async def _turned_off(self, presence: Presence) -> tuple[bool, bool]:
        """Switch the node off; tell whether the control shows that, and whether the node left."""
        await self._send("off")
        is_off = has_left = False

        async def is_done() -> bool:
            nonlocal is_off, has_left
            has_left = await presence.has_left()
            is_off = await self.state() in {PowerState.OFF, PowerState.UNKNOWN}
            return is_off and has_left

        await self._happens(is_done)
        return is_off, has_left

    async def _send(self, order: str, by_hand: str = "") -> None:
        """Send an order; tell the person, where it is one who does it."""
        await self._control.send(order)
        if self._control.is_by_hand:
            words = (by_hand or BY_HAND[order]).format(self._steps.name)
            where = f" ({self._control.where})" if self._control.where else ""
            self._steps.report(Notice(text=sanitise(words + where)))
        else:
            self._steps.note(f"{self.name} says ok to {order}")

    async def _require_on(self) -> None:
        if not await self._happens(self.is_on):
            raise self._blame(PowerState.ON, "says ok to on, but that the node is off")

    def _blame(self, wanted: PowerState, words: str) -> NodeError:
        """Return the error of who did not bring it to be so, in these words where it is a control.

        Of several, those are to blame that showed something else.
        """
        if self._control.is_by_hand:
            return self._unseen("come" if wanted is PowerState.ON else "go away")
        return CardError(words, self._control.others_than(wanted))

    def _unseen(self, what: str) -> NodeError:
        return NodeError(f"was not seen to {what} in {self._patience:g} s")

    async def _departs(self, presence: Presence) -> bool:
        """Tell whether the node goes away as soon as after a reset it has to."""
        return await self._happens(presence.has_left)

    async def _happens(self, is_done: Callable[[], Awaitable[bool]]) -> bool:
        return await happens(is_done, self._patience, self._limits.probe_interval)
