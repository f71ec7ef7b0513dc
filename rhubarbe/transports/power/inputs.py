"""All inputs of one node, as one: it is off when all of them are off, and on when all are on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from rhubarbe.errors import CardError, CardRefused, GatewayError
from rhubarbe.text import mask
from rhubarbe.transports.power.base import PowerControl, PowerState

Result = TypeVar("Result")


class Complaint(NamedTuple):
    """Why one input does not tell; `is_ours` where it was not even asked, for want of ours.

    It `is_refusal` where what it lets in by is wrong.
    """

    line: str
    is_ours: bool
    is_refusal: bool = False


class Inputs:
    """What switches one node: a control, or several, of which errors name the one to blame."""

    def __init__(self, controls: Sequence[PowerControl]) -> None:
        self._controls = controls
        self._seen: dict[PowerControl, PowerState] = {}
        self.name = " and ".join(control.name for control in controls)
        self.are_several = len(controls) > 1
        self.patience = max(control.patience for control in controls)
        """How many seconds longer than by a card it may take until an order is done."""
        self.has_usrp = any(control.has_usrp for control in controls)
        self.is_by_hand = any(control.is_by_hand for control in controls)
        """Whether a person has to do what at least one is told."""
        self.where = ", ".join(filter(None, (control.where for control in controls)))
        """What that person is told besides what to do with which node."""

    async def state(self) -> PowerState:
        """Ask all for the power state; raises CardError."""
        found = await self._all(self._controls, lambda control: control.state())
        self._seen = dict(zip(self._controls, found, strict=True))
        return _of_all(found)

    async def send(self, order: str) -> None:
        """Send an order to all; raises CardError once all have answered, if one does not accept."""
        await self._all(self._who(order), lambda control: control.send(order))

    async def ask(self, question: str) -> str:
        """Return the answer to `status`, or to another question; raises CardError."""
        if question == "status":
            state = await self.state()
            return f"{state} ({self._parts()})" if state is PowerState.PARTLY else str(state)
        asked = self._who(question)
        told = await self._all(asked, lambda control: control.ask(question))
        answers = list(map(mask, told))  # who is told a password may repeat it
        if len(asked) == 1:
            return answers[0]
        pairs = zip(asked, answers, strict=True)
        return ", ".join(f"{control.name}: {answer}" for control, answer in pairs)

    async def examined(self) -> tuple[PowerState | None, list[Complaint]]:
        """Ask each once; return the state where all tell it, and complaints of the others."""
        found = await asyncio.gather(
            *(control.state() for control in self._controls), return_exceptions=True
        )
        states: list[PowerState] = []
        complaints: list[Complaint] = []
        for control, each in zip(self._controls, found, strict=True):
            if isinstance(each, (CardError, GatewayError)):
                complaints.append(
                    Complaint(
                        f"{control.name}: {each}",
                        is_ours=isinstance(each, GatewayError),
                        is_refusal=isinstance(each, CardRefused),
                    )
                )
            elif isinstance(each, BaseException):
                raise each
            else:
                states.append(each)
        return (None if complaints else _of_all(states)), complaints

    def others_than(self, state: PowerState) -> str:
        """Name those that were in another state when they were asked last."""
        others = [control.name for control, seen in self._seen.items() if seen is not state]
        return " and ".join(others) or self.name

    def _parts(self) -> str:
        return ", ".join(f"{control.name} {seen}" for control, seen in self._seen.items())

    def _who(self, verb: str) -> Sequence[PowerControl]:
        """Return those whom a verb is for: where it is of a USRP, those that have one, if any."""
        for_usrp = self.has_usrp and verb.startswith("usrp")
        return [each for each in self._controls if each.has_usrp or not for_usrp]

    async def _all(
        self,
        controls: Sequence[PowerControl],
        call: Callable[[PowerControl], Awaitable[Result]],
    ) -> list[Result]:
        """Return what these answer to a call; raises what is raised, once all have ended."""
        found = await asyncio.gather(*map(call, controls), return_exceptions=True)
        results: list[Result] = []
        for control, each in zip(controls, found, strict=True):
            if isinstance(each, CardError):
                raise type(each)(str(each), control.name) from each
            if isinstance(each, BaseException):
                raise each
            results.append(each)
        return results


def _of_all(found: Sequence[PowerState]) -> PowerState:
    """Return the state of a node whose inputs are so."""
    states = set(found)
    if len(states) == 1:
        return states.pop()
    return PowerState.UNKNOWN if PowerState.UNKNOWN in states else PowerState.PARTLY
