"""Which kinds of doors there are to nodes, and whether the inventory names them rightly."""

from collections.abc import Iterable, Iterator

from rhubarbe.config.section import Section
from rhubarbe.inventory import Entry
from rhubarbe.transports.netboot import NETBOOTS
from rhubarbe.transports.power import CONTROLS


def driver_faults(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield what is wrong with `power` and `netboot` of these nodes, each in one line.

    Two that are switched by the same are found where they say so in other words, too: a number as
    a text, or what is the default in any case.
    """
    switched: dict[tuple[str, Section], str] = {}
    for entry in entries:
        for kinds, driver in ((CONTROLS, entry.power), (NETBOOTS, entry.netboot)):
            if driver is not None:
                faults = list(kinds.faults(driver))
                yield from (f"{entry.name}: {fault}" for fault in faults)
                if kinds is CONTROLS and not faults:
                    other = switched.setdefault((driver.kind, kinds.values(driver)), entry.name)
                    if other != entry.name:  # the values may have a password
                        yield f"{entry.name}: the same power as {other}"
