"""pxelinux and GRUB, for sites that do not know by which firmware a node boots: a link for each."""

from collections.abc import Iterable
from pathlib import Path
from re import Pattern

from rhubarbe.config import Settings
from rhubarbe.config.section import Section
from rhubarbe.transports.netboot.base import Netboot
from rhubarbe.transports.netboot.by_mac import ByMacValues
from rhubarbe.transports.netboot.grub import Grub
from rhubarbe.transports.netboot.pxelinux import Pxelinux

KINDS = (Pxelinux, Grub)


class BothValues(Section):
    """Nothing: [pxelinux] and [grub] say what there is to know."""


class Both(Netboot):
    """The links of one node."""

    takes = BothValues

    def __init__(self, _: BothValues, mac: str, settings: Settings) -> None:
        of_kinds = (kind(ByMacValues(), mac, settings) for kind in KINDS)
        self.links = tuple(link for netboot in of_kinds for link in netboot.links)

    @classmethod
    def places(cls, settings: Settings) -> Iterable[tuple[Path, Pattern[str]]]:
        """Return where each of the two has its links."""
        return [place for kind in KINDS for place in kind.places(settings)]
