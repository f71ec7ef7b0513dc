"""Devices that are no nodes, plugged into PDUs: to this room, nodes without a network."""

from rhubarbe.inventory import Entry, Interface
from rhubarbe.node.doors import Doors
from rhubarbe.outlets import Device
from rhubarbe.transports.presence import Presence


class DeviceDoors(Doors):
    """The ways to devices, of which their outlets alone say whether they are on."""

    async def presence(self, entry: Entry, limit_s: float) -> Presence:
        """Return that it answers nowhere, as far as anybody looks."""
        return Presence(entry.control.ip, (), limit_s)


def entry_of(device: Device) -> Entry:
    """Return a device as what has a name, inputs, and perhaps a system to log in to."""
    place = Interface(device.name, device.ssh_hostname, "")
    return Entry(0, place, None, None, power=tuple(each.driver for each in device.inputs))
