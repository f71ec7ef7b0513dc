"""The file of PDUs, for the verbs that need it."""

from rhubarbe.config import Settings
from rhubarbe.errors import InventoryError
from rhubarbe.inventory import Inventory, is_there
from rhubarbe.outlets import Outlets
from rhubarbe.outlets_file import load_outlets
from rhubarbe.text import and_more


def read_outlets(settings: Settings) -> Outlets:
    """Read the PDUs and devices of the site; raises InventoryError."""
    return load_outlets(settings.testbed.inventory_pdus_path)


def has_outlets(settings: Settings) -> bool:
    """Tell whether there is such a file, or should be: somebody names it."""
    is_said = ("testbed", "inventory_pdus_path") in settings.origins
    return is_said or is_there(settings.testbed.inventory_pdus_path)


def require_sound(outlets: Outlets, inventory: Inventory, settings: Settings) -> None:
    """Raise InventoryError where a device cannot be switched, or a node is by the same outlet."""
    faults = device_faults(outlets, inventory, settings)
    if faults:
        others = and_more(len(faults) - 1, "more faults")
        raise InventoryError(f"{settings.testbed.inventory_pdus_path}: {faults[0]}{others}")


def device_faults(outlets: Outlets, inventory: Inventory, settings: Settings) -> list[str]:
    """Return what is wrong with what switches devices, each in one line."""
    from rhubarbe.node.devices import entry_of
    from rhubarbe.node.kinds import driver_faults

    devices = [entry_of(device) for device in outlets]
    names = {device.name for device in devices}
    faults = [f"{entry.name}: a node is called so" for entry in inventory if entry.name in names]
    found = driver_faults([*inventory, *devices], settings)
    return faults + [fault for fault in found if fault.partition(":")[0] in names]
