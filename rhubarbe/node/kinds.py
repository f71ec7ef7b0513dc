"""Which kinds of doors there are to nodes, and whether the inventory names them rightly."""

from collections.abc import Iterable, Iterator

from rhubarbe.config import Settings
from rhubarbe.inventory import Driver, Entry, input_names
from rhubarbe.transports.netboot import NETBOOTS, link_places
from rhubarbe.transports.power import CONTROLS

__all__ = ["driver_faults", "link_places"]


def driver_faults(entries: Iterable[Entry], settings: Settings) -> Iterator[str]:
    """Yield what is wrong with `power` and `netboot` of these nodes, each in one line.

    Two that are switched by the same are found whatever words say so: a number as a text, what is
    the default in any case, or the card that another has by `cmc`.
    """
    switched: dict[tuple[str, object], str] = {}
    for entry in entries:
        own = settings.for_node(entry.number, entry.name)
        for fault in NETBOOTS.faults(entry.netboot_driver(own.nodes.netboot)):
            origin = (
                ""
                if entry.netboot
                else f" ({own.origins.get(('nodes', 'netboot'), 'netboot in [nodes]')})"
            )
            yield f"{entry.name}: {fault}{origin}"
        for part, driver in inputs_of(entry):
            faults = list(CONTROLS.faults(driver, part)) or _misfits(driver, entry, part)
            yield from (f"{entry.name}: {fault}" for fault in faults)
            if not faults:
                own_name = f"{entry.name}: {part}" if part != "power" else entry.name
                place = driver.kind, _outlet(driver, entry, settings)
                other = switched.setdefault(place, own_name)
                if other != own_name:  # what it is may have a password
                    yield f"{own_name}: the same power as {other}"


def _misfits(driver: Driver, entry: Entry, part: str) -> list[str]:
    """Return what does not fit together, where each value is right."""
    misfit = CONTROLS.named(driver.kind).misfit(CONTROLS.values(driver, entry))
    return [f"{part}.{misfit}"] if misfit else []


def _outlet(driver: Driver, entry: Entry, settings: Settings) -> object:
    control, values = CONTROLS.named(driver.kind), CONTROLS.values(driver, entry)
    return control.outlet(values, settings.networking)


def inputs_of(entry: Entry) -> Iterator[tuple[str, Driver]]:
    """Yield what switches each input of a node, with what messages call that."""
    drivers = entry.power_drivers
    yield from zip(input_names(len(drivers)), drivers, strict=True)
