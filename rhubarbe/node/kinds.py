"""Which kinds of doors there are to nodes, and whether the inventory names them rightly."""

from collections.abc import Iterable, Iterator

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.inventory import Entry
from rhubarbe.transports.netboot import NETBOOTS
from rhubarbe.transports.power import CONTROLS


def driver_faults(entries: Iterable[Entry], networking: NetworkingSettings) -> Iterator[str]:
    """Yield what is wrong with `power` and `netboot` of these nodes, each in one line.

    Two that are switched by the same are found whatever words say so: a number as a text, what is
    the default in any case, or the card that another has by `cmc`.
    """
    switched: dict[tuple[str, object], str] = {}
    for entry in entries:
        if entry.netboot is not None:
            yield from (f"{entry.name}: {fault}" for fault in NETBOOTS.faults(entry.netboot))
        driver = entry.power_driver
        faults = list(CONTROLS.faults(driver))
        yield from (f"{entry.name}: {fault}" for fault in faults)
        if not faults:
            outlet = CONTROLS.named(driver.kind).outlet(CONTROLS.values(driver), networking)
            other = switched.setdefault((driver.kind, outlet), entry.name)
            if other != entry.name:  # what it is may have a password
                yield f"{entry.name}: the same power as {other}"
