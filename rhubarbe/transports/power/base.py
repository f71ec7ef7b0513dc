"""What every kind of power control does: it tells whether a node is on, and switches it."""

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Protocol

from rhubarbe.config.section import Section
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError, require_means, why


class PowerControl(Protocol):
    """What switches one node.

    Each call ends within the seconds of one answer, whatever is at the other end. It raises
    CardError for whatever is wrong there, and GatewayError where this machine lacks something.
    A verb that is answered is not done yet: who gave an order looks whether it was.
    """

    takes: ClassVar[type[Section]]
    """What `power` of a node in the inventory may say, besides `kind`."""

    name: str
    """How users know it."""

    @abstractmethod
    def __init__(self, values: Any, answers_within: float, networking: NetworkingSettings) -> None:
        """Be told the values of what it takes; connect to nothing yet."""

    @classmethod
    def outlet(cls, values: Any, networking: NetworkingSettings) -> object:
        """Return what is switched, for comparing: no two nodes may have the same."""
        return values

    @abstractmethod
    async def is_on(self) -> bool:
        """Ask for the power state; raises CardError also for an answer that is none."""

    @abstractmethod
    async def send(self, order: str) -> None:
        """Send `on`, `off`, `reset`, or another order; raises CardError unless it is accepted.

        A reset need not change anything where the node is off.
        """

    async def ask(self, question: str) -> str:
        """Return the answer to `status`, or to another question that this kind knows."""
        if question != "status":
            raise CardError(f"cannot answer {question}: it is of another kind")
        return "on" if await self.is_on() else "off"


@contextlib.asynccontextmanager
async def answering(verb: str, within: float) -> AsyncIterator[None]:
    """Hear the answer to a verb within the context, for so many seconds; raises CardError.

    Errors of the network are told as every kind tells them.
    """
    try:
        async with asyncio.timeout(within):
            yield
    except TimeoutError as error:
        raise CardError(f"no answer in {within:g} s to {verb}") from error
    except OSError as error:
        require_means(error)
        raise CardError(f"cannot be reached for {verb}: {why(error)}") from error
