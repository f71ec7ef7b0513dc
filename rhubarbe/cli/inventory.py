"""Print the inventory: each node with its addresses and its power card."""

import argparse

from rhubarbe.cli.arguments import example, read_inventory, read_settings
from rhubarbe.inventory import Interface

EPILOG = example("rhubarbe-inventory")

COLUMNS = ("node", "control", "ip", "mac", "cmc", "ip", "mac", "data", "ip", "mac")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what inventory takes: nothing."""


def run(arguments: argparse.Namespace) -> int:
    """Print one line a node."""
    inventory = read_inventory(read_settings())
    rows = [COLUMNS] + [
        (str(entry.number), *_cells(entry.control), *_cells(entry.cmc), *_cells(entry.data))
        for entry in inventory
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _cells(interface: Interface | None) -> tuple[str, str, str]:
    if interface is None:
        return "-", "-", "-"
    return interface.hostname, interface.ip, interface.mac or "-"
