"""What every kind of power control does: it tells whether a node is on, and switches it."""

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from rhubarbe.config.section import Section
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError, require_means, why


class PowerState(StrEnum):
    """Whether a node has power, in the word that users see."""

    ON = "on"
    OFF = "off"
    PARTLY = "partly on"
    """Some of its inputs are on, and some are off."""
    UNKNOWN = "unknown"


class PowerControl(Protocol):
    """What switches one node, or one of its inputs.

    Each call ends within the seconds of one answer, whatever is at the other end. It raises
    CardError for whatever is wrong there, and GatewayError where this machine lacks something.
    A verb that is answered is not done yet: who gave an order looks whether it was.
    """

    takes: ClassVar[type[Section]]
    """What `power` of a node in the inventory may say, besides `kind`."""

    name: str
    """How users know it."""

    patience: float = 0.0
    """How many seconds longer than a card it may take until an order is done."""

    has_usrp: bool = False
    """Whether it also switches a USRP, by `usrpon` and `usrpoff`, and answers `usrpstatus`."""

    is_by_hand: bool = False
    """Whether a person does what it is told."""

    where: str = ""
    """What that person is told besides what to do with which node."""

    @abstractmethod
    def __init__(self, values: Any, answers_within: float, networking: NetworkingSettings) -> None:
        """Be told the values of what it takes; connect to nothing yet."""

    @classmethod
    def outlet(cls, values: Any, networking: NetworkingSettings) -> object:
        """Return what is switched, for comparing: no two nodes may have the same."""
        return values

    @classmethod
    def misfit(cls, values: Any) -> str:
        """Say which values do not fit together, each of which is right; empty where they do."""
        return ""

    @abstractmethod
    async def is_on(self) -> bool | None:
        """Ask for the power state; None where nobody can tell.

        Raises CardError also for an answer that is none.
        """

    @abstractmethod
    async def send(self, order: str) -> None:
        """Send `on`, `off`, `reset`, or another order; raises CardError unless it is accepted.

        A reset need not change anything where the node is off.
        """

    async def ask(self, question: str) -> str:
        """Return the answer to `status`, or to another question that this kind knows."""
        if question != "status":
            raise CardError(f"cannot answer {question}: no control of its kind can")
        return str(await self.state())

    async def state(self) -> PowerState:
        """Return the power state in words."""
        is_on = await self.is_on()
        if is_on is None:
            return PowerState.UNKNOWN
        return PowerState.ON if is_on else PowerState.OFF


@contextlib.asynccontextmanager
async def answering(verb: str, within: float, hint: str = "") -> AsyncIterator[None]:
    """Hear the answer to a verb within the context, for so many seconds; raises CardError.

    Errors of the network are told as every kind tells them; `hint` says what silence may mean.
    """
    try:
        async with asyncio.timeout(within):
            yield
    except TimeoutError as error:
        raise CardError(f"no answer in {within:g} s to {verb}{hint}") from error
    except OSError as error:
        require_means(error)
        raise CardError(f"cannot be reached for {verb}: {why(error)}") from error
