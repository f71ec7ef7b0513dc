"""Which kinds of doors there are to nodes, and whether the inventory names them rightly."""

from collections.abc import Iterable, Iterator

from rhubarbe.config import Settings
from rhubarbe.inventory import Entry
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
        driver = entry.power_driver
        faults = list(CONTROLS.faults(driver))
        yield from (f"{entry.name}: {fault}" for fault in faults)
        if not faults:
            outlet = CONTROLS.named(driver.kind).outlet(
                CONTROLS.values(driver), settings.networking
            )
            other = switched.setdefault((driver.kind, outlet), entry.name)
            if other != entry.name:  # what it is may have a password
                yield f"{entry.name}: the same power as {other}"
