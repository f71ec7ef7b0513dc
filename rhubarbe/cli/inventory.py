"""Print the inventory: each node with its addresses and its power card; or check it."""

import argparse

from rhubarbe.cli.arguments import (
    examine_inventory,
    example,
    read_inventory,
    read_settings,
)
from rhubarbe.config import Settings
from rhubarbe.inventory import (
    Entry,
    Interface,
    Inventory,
    inventory_template,
)
from rhubarbe.text import sanitise

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
    parser.add_argument(
        "--online",
        action="store_true",
        help="with --check: also ask every power control for its state, and name the silent ones",
    )
    parser.set_defaults(refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for; return 1 where a check finds faults."""
    if arguments.online and not arguments.check:
        arguments.refuse("--online goes with --check only")
    settings = read_settings()
    if arguments.template:
        print(inventory_template(settings.testbed.regularname, settings.testbed.rebootname))
        return 0
    if arguments.check:
        return _check(settings, online=arguments.online)
    _print_table(read_inventory(settings), settings)
    return 0


def _check(settings: Settings, *, online: bool) -> int:
    """Print what is wrong, and what a person should know; return 1 where anything is wrong."""
    inventory, faults = examine_inventory(settings)
    devices = _of_devices(settings)
    if not faults:
        from rhubarbe.node.secrets import exposed  # few look for more than faults

        for line in exposed(inventory, settings):
            print(f"notice: {line}")
        faults = _silent(inventory, settings) if online else []
    faults += devices
    asked = ", and no power control is silent" if online else ""
    print("\n".join(faults) or f"{settings.testbed.inventory_path}: no fault{asked}")
    return int(bool(faults))


def _of_devices(settings: Settings) -> list[str]:
    """Return what is wrong with the file of PDUs, where there is one."""
    from rhubarbe.cli.outlets import has_outlets
    from rhubarbe.outlets_file import outlet_faults

    return outlet_faults(settings.testbed.inventory_pdus_path) if has_outlets(settings) else []


def _silent(inventory: Inventory, settings: Settings) -> list[str]:
    import asyncio

    from rhubarbe.gateway.checks.limits import TO_ASK, require_room
    from rhubarbe.operations.survey import who_does_not_answer

    entries = list(inventory)
    require_room(len(entries), TO_ASK)
    return [sanitise(line) for line in asyncio.run(who_does_not_answer(entries, settings))]


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
