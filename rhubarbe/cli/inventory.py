"""Print the inventory: each node with its addresses and its power card; or check it."""

import argparse

from rhubarbe.cli.arguments import (
    driver_faults,
    example,
    node_faults,
    read_inventory,
    read_settings,
)
from rhubarbe.config import Settings
from rhubarbe.inventory import (
    Entry,
    Interface,
    Inventory,
    inventory_faults,
    inventory_template,
    load_inventory,
)

EPILOG = example("rhubarbe-inventory --template > /etc/rhubarbe/inventory.json")

COLUMNS = ("node", "control", "ip", "mac", "cmc", "ip", "mac", "data", "ip", "mac")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what inventory takes."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check",
        action="store_true",
        help="print all that is wrong with it, a fault a line; exit code 1 if anything is",
    )
    what.add_argument("--template", action="store_true", help="print one to start from")


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for; return 1 where a check finds faults."""
    settings = read_settings()
    if arguments.template:
        print(inventory_template(settings.testbed.regularname, settings.testbed.rebootname))
        return 0
    if arguments.check:
        place = (settings.testbed.inventory_path, settings.testbed.regularname)
        faults = inventory_faults(*place)
        if not faults:
            inventory = load_inventory(*place)
            faults = driver_faults(settings, inventory) or node_faults(settings, inventory)
        print("\n".join(faults) or f"{settings.testbed.inventory_path}: no fault")
        return int(bool(faults))
    _print_table(read_inventory(settings), settings)
    return 0


def _print_table(inventory: Inventory, settings: Settings) -> None:
    """Print a row a node; with a column of disks, where these differ, and of kinds likewise."""
    own = {each.number: settings.for_node(each.number, each.name, each.disk) for each in inventory}
    more = {
        "disk": {number: each.frisbee.hard_drive for number, each in own.items()},
        "power": {entry.number: _kinds(entry) for entry in inventory},
        "netboot": {
            entry.number: entry.netboot_driver(own[entry.number].nodes.netboot).kind
            for entry in inventory
        },
    }
    more = {title: cells for title, cells in more.items() if len(set(cells.values())) > 1}
    rows = [(*COLUMNS, *more)] + [
        (
            str(entry.number),
            *(*_cells(entry.control), *_cells(entry.cmc), *_cells(entry.data)),
            *(cells[entry.number] for cells in more.values()),
        )
        for entry in inventory
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _kinds(entry: Entry) -> str:
    return "+".join(driver.kind for driver in entry.power_drivers)


def _cells(interface: Interface | None) -> tuple[str, str, str]:
    if interface is None:
        return "-", "-", "-"
    return interface.hostname, interface.ip, interface.mac or "-"
