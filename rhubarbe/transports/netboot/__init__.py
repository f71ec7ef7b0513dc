"""Doors to what makes nodes boot from the network: a file here and a line in the table a kind."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from re import Pattern

from rhubarbe.config import Settings
from rhubarbe.inventory import Entry
from rhubarbe.transports.kinds import Kinds
from rhubarbe.transports.netboot.base import Netboot
from rhubarbe.transports.netboot.links import Link, Seen, dashed

__all__ = [
    "CONFIGURED",
    "KINDS",
    "NETBOOTS",
    "Link",
    "Netboot",
    "Seen",
    "asking",
    "dashed",
    "link_places",
    "netboot_of",
]

KINDS: dict[str, str] = {
    "pxelinux": "rhubarbe.transports.netboot.pxelinux.Pxelinux",
    "grub": "rhubarbe.transports.netboot.grub.Grub",
    "both": "rhubarbe.transports.netboot.both.Both",
    "ipxe": "rhubarbe.transports.netboot.ipxe.Ipxe",
    "redfish": "rhubarbe.transports.netboot.redfish.Redfish",
}

NETBOOTS: Kinds[Netboot] = Kinds("netboot", KINDS)

# Those whose links have a directory that the configuration names.
CONFIGURED = ("pxelinux", "grub", "ipxe")


def netboot_of(entry: Entry, settings: Settings) -> Netboot:
    """Return what makes a node boot the ramdisk, by the settings of this node."""
    driver = entry.netboot_driver(settings.nodes.netboot)
    netboot, values = NETBOOTS.named(driver.kind), NETBOOTS.values(driver)
    return netboot(values, entry.control.mac, settings)


def link_places(
    entries: Iterable[Entry], settings: Settings
) -> Sequence[tuple[Path, Pattern[str]]]:
    """Return in which directories there may be links of these nodes, and what they are called.

    Among them are those of the configuration, whichever kinds these nodes have now.
    """
    places = [place for kind in CONFIGURED for place in NETBOOTS.named(kind).places(settings)]
    for entry in entries:
        own = settings.for_node(entry.number, entry.name)
        places += [(link.path.parent, link.names) for link in netboot_of(entry, own).links]
    return list(dict.fromkeys(places))


def asking(entries: Iterable[Entry], settings: Settings) -> Iterator[tuple[str, Netboot]]:
    """Yield what asks for more than links to make a node boot the ramdisk, with the node's name."""
    for entry in entries:
        netboot = netboot_of(entry, settings.for_node(entry.number, entry.name))
        if netboot.asks:
            yield entry.name, netboot
