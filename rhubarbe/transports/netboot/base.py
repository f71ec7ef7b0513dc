"""What every kind of netboot does: it makes one node boot the ramdisk, and ends that."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from re import Pattern
from typing import Any, ClassVar

from rhubarbe.config import Settings
from rhubarbe.config.section import Section
from rhubarbe.transports.netboot.links import Link


class Netboot(ABC):
    """What makes one node boot the ramdisk at each start: links on a disk of ours, as a rule.

    The journal and the guardian know each link: they take it away after whatever kills the command.
    What is not done by a link is asked for by `begin`, and ended by `end`.
    """

    asks: ClassVar[bool] = False
    """Whether `begin` asks for anything; what a killed command has, the next one `end`s."""

    takes: ClassVar[type[Section]]
    """What `netboot` of a node in the inventory may say, besides `kind`."""

    links: Sequence[Link]
    """What has to be there, all of it, for as long as the node is to boot the ramdisk."""

    @abstractmethod
    def __init__(self, values: Any, mac: str, settings: Settings) -> None:
        """Be told the values of what it takes, and the node's MAC address; touch nothing yet."""

    @classmethod
    def places(cls, settings: Settings) -> Iterable[tuple[Path, Pattern[str]]]:
        """Return where links are that the inventory says nothing of, and what they are called.

        There are several such directories, perhaps, or none.
        """
        return ()

    async def begin(self) -> None:  # noqa: B027 - most kinds have links only
        """Ask for what no link does, once the links are there; raises GatewayError or NodeError."""

    async def end(self) -> None:  # noqa: B027
        """End what `begin` asked for, be it used or not; raises GatewayError or NodeError.

        Also in place of a command that was killed, perhaps long ago.
        """
