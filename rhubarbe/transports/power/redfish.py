"""A controller (BMC) by Redfish: the power of one of its systems.

Which of the ways to reset it there are, the service says, in the system or in a list beside it.
"""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError
from rhubarbe.transports.power.base import PowerControl
from rhubarbe.transports.redfish.values import RedfishValues, inside, link

if TYPE_CHECKING:
    from rhubarbe.transports.redfish.talk import Answer, Talk

STATES = {"On": True, "PoweringOn": True, "PoweringOff": True, "Paused": True, "Off": False}
BUTTON = "PushPowerButton"
RESETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "on": ("On", "ForceOn", BUTTON),
        "off": ("ForceOff", BUTTON),
        "reset": ("ForceRestart", "PowerCycle", "GracefulRestart"),
    }
)
"""What does an order; the first that the service allows."""

# What a service may say to an order that is done already.
NEEDLESS = (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT)


class Redfish(PowerControl):
    """One system of a controller."""

    takes = RedfishValues

    def __init__(
        self, values: RedfishValues, answers_within: float, networking: NetworkingSettings
    ) -> None:
        from rhubarbe.transports.redfish.service import Service  # with aiohttp, for those who ask

        self.name = values.name or f"{values.address} {values.system}".rstrip()
        self._service = Service(values)
        self._within = answers_within

    @classmethod
    def outlet(cls, values: RedfishValues, networking: NetworkingSettings) -> object:
        """Return where the controller is, and which system; whoever we are to it."""
        return values.address, values.port, values.system

    async def is_on(self) -> bool:
        """Ask for the power state."""
        async with self._service.talk("status", self._within) as talk:
            state = _state(await self._service.system(talk))
        if state is None:
            raise CardError("answers status without a power state that is on or off")
        return state

    async def send(self, order: str) -> None:
        """Have the system reset in the way that does it; raises CardError unless accepted."""
        if order not in RESETS:
            raise CardError(f"cannot do {order}: no control of its kind can")
        async with self._service.talk(order, self._within) as talk:
            system = await self._service.system(talk)
            way = await _way(talk, system, order)
            is_done = _state(system) is (order == "on")
            if way == BUTTON and is_done:  # which would undo it
                return
            target = inside(system.said, "Actions", "#ComputerSystem.Reset", "target")
            if not isinstance(target, str):
                raise CardError("has a system that cannot be reset")
            talk.repeats = way != BUTTON
            answer = await talk.ask("POST", target, {"ResetType": way})
            if answer.status in NEEDLESS and order != "reset" and is_done:
                return
            talk.required(answer)


def _state(system: "Answer") -> bool | None:
    state = system.said.get("PowerState")
    return STATES.get(state) if isinstance(state, str) else None


async def _way(talk: "Talk", system: "Answer", order: str) -> str:
    """Return the reset that does an order, of those that are allowed; raises CardError."""
    action = inside(system.said, "Actions", "#ComputerSystem.Reset")
    allowed = inside(action, "ResetType@Redfish.AllowableValues")
    if not allowed and (listed := inside(action, "@Redfish.ActionInfo")):
        allowed = _of_list(await talk.get(listed if isinstance(listed, str) else link(listed)))
    if not isinstance(allowed, list) or not allowed:  # nothing is said: so what is usual
        return RESETS[order][0]
    for way in RESETS[order]:
        if way in allowed:
            return way
    raise CardError(f"allows no {' or '.join(RESETS[order])}, but {', '.join(map(str, allowed))}")


def _of_list(info: "Answer") -> Any:
    parameters = inside(info.said, "Parameters")
    for each in parameters if isinstance(parameters, list) else ():
        if inside(each, "Name") == "ResetType":
            return inside(each, "AllowableValues")
    return None
