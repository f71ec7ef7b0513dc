"""Which kinds of doors there are to nodes, and whether the inventory names them rightly."""

from collections.abc import Iterable, Iterator

from rhubarbe.config import Settings
from rhubarbe.inventory import Driver, Entry, input_names
from rhubarbe.transports.netboot import NETBOOTS, asking, link_places
from rhubarbe.transports.power import CONTROLS

__all__ = ["asking", "driver_faults", "link_places"]


def driver_faults(entries: Iterable[Entry], settings: Settings) -> Iterator[str]:
    """Yield what is wrong with `power` and `netboot` of these nodes, each in one line.

    Two that are switched by the same are found whatever words say so: a number as a text, what is
    the default in any case, or the card that another has by `cmc`.
    """
    switched: dict[object, str] = {}
    for entry in entries:
        yield from (f"{entry.name}: {fault}" for fault in _netboot_faults(entry, settings))
        for part, driver in inputs_of(entry):
            if faults := list(CONTROLS.faults(driver, part)):
                yield from (f"{entry.name}: {fault}" for fault in faults)
                continue
            control, values = CONTROLS.named(driver.kind), CONTROLS.values(driver, entry)
            if misfit := control.misfit(values):
                yield f"{entry.name}: {part}.{misfit}"
                continue
            own_name = f"{entry.name}: {part}" if part != "power" else entry.name
            place = driver.kind, control.outlet(values, settings.networking)
            other = switched.setdefault(place, own_name)
            if other != own_name:  # what it is may have a password
                yield f"{own_name}: the same power as {other}"


def _netboot_faults(entry: Entry, settings: Settings) -> Iterator[str]:
    """Yield what is wrong with `netboot`, and where that is said if not in the inventory."""
    own = settings.for_node(entry.number, entry.name)
    place = own.origins.get(("nodes", "netboot"), "netboot in [nodes]")
    origin = "" if entry.netboot else f" ({place})"
    for fault in NETBOOTS.faults(entry.netboot_driver(own.nodes.netboot)):
        yield fault + origin


def inputs_of(entry: Entry) -> Iterator[tuple[str, Driver]]:
    """Yield what switches each input of a node, with what messages call that."""
    drivers = entry.power_drivers
    yield from zip(input_names(len(drivers)), drivers, strict=True)
