"""Doors to what makes nodes boot from the network: a file here and a line in the table a kind."""

from rhubarbe.config import Settings
from rhubarbe.inventory import Entry
from rhubarbe.transports.kinds import Kinds
from rhubarbe.transports.netboot.base import Netboot

__all__ = ["KINDS", "NETBOOTS", "Netboot", "netboot_of"]

KINDS: dict[str, str] = {
    "pxelinux": "rhubarbe.transports.netboot.pxelinux.Pxelinux",
}

NETBOOTS: Kinds[Netboot] = Kinds("netboot", KINDS)


def netboot_of(entry: Entry, settings: Settings) -> Netboot:
    """Return what makes a node boot the ramdisk, by the settings of this node."""
    driver = entry.netboot_driver
    netboot, values = NETBOOTS.named(driver.kind), NETBOOTS.values(driver)
    return netboot(values, entry.control.mac, settings)
