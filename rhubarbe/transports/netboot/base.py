"""What every kind of netboot does: it makes one node boot the ramdisk, and ends that."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from re import Pattern
from typing import Any, ClassVar, Protocol

from rhubarbe.config import Settings
from rhubarbe.config.section import Section


@dataclass(frozen=True, slots=True)
class Seen:
    """That a node is made to boot an entry, since when (in seconds since the epoch), by whom."""

    entry: str
    since: float
    uid: int


class Netboot(Protocol):
    """What makes one node boot the ramdisk at each start, as long as a link is there.

    The journal and the guardian know that by its `path` and by the `entry` that it points to: they
    take it away after whatever kills the command. All methods wait for the disk, so they are for a
    thread; what cannot be done raises Distrust, or another OSError.
    """

    takes: ClassVar[type[Section]]
    """What `netboot` of a node in the inventory may say, besides `kind`."""

    names: ClassVar[Pattern[str]]
    """What its links are called: of what another command left behind, nothing else is removed."""

    said_by: str
    """Where users say which entry it is."""

    path: Path
    entry: str

    @abstractmethod
    def __init__(self, values: Any, mac: str, settings: Settings) -> None:
        """Be told the values of what it takes, and the node's MAC address; touch nothing yet."""

    @abstractmethod
    def has_entry(self) -> bool:
        """Tell whether there is such a boot entry."""

    @abstractmethod
    def make(self) -> None:
        """Have the node boot the entry, at once in place of whatever it would have booted."""

    @abstractmethod
    def remove(self) -> None:
        """End that, whoever began it, if it is towards our entry."""

    @abstractmethod
    def seen(self) -> Seen | None:
        """Return what the node is made to boot, be it another entry; None for nothing."""

    @abstractmethod
    def is_there(self) -> bool:
        """Tell whether anything is at `path`."""
