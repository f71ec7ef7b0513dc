"""Which kinds of doors there are to nodes, and whether the inventory names them rightly."""

from collections.abc import Iterable, Iterator

from rhubarbe.inventory import Entry
from rhubarbe.transports.netboot import NETBOOTS
from rhubarbe.transports.power import CONTROLS


def driver_faults(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield what is wrong with `power` and `netboot` of these nodes, each in one line."""
    for entry in entries:
        for kinds, driver in ((CONTROLS, entry.power), (NETBOOTS, entry.netboot)):
            if driver is not None:
                yield from (f"{entry.name}: {fault}" for fault in kinds.faults(driver))
