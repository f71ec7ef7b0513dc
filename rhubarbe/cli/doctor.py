"""Examine this gateway, before a site goes live and whenever something is odd.

Configuration, inventory, directories, boot entries, TFTP, multicast, power controls and more: each
line says that a thing is well, or what is wrong and the command that repairs it.
"""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from rhubarbe.cli.arguments import (
    SELECTION_BUT_ALL,
    add_displays,
    add_nodes,
    examine_inventory,
    example,
    read_settings,
    seconds,
    selected_entries,
)
from rhubarbe.errors import ConfigError

if TYPE_CHECKING:
    from rhubarbe.doctor.examine import Reading

EPILOG = example(
    "rhubarbe-doctor --check power --check tftp 1-12",
    SELECTION_BUT_ALL,
    "Exit code: 0 when nothing is wrong, 1 otherwise, 2 for a wrong command line.",
)
LIMIT_S = 10.0
NAMES = (
    *("configuration", "inventory", "state", "links", "images", "boot-entries", "network", "tftp"),
    *("dhcp", "multicast", "ports", "programs", "ssh-key", "power", "leases", "clock"),
    *("disk-space", "open-files"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what doctor takes."""
    parser.add_argument(
        "-k",
        "--check",
        action="append",
        choices=NAMES,
        metavar="NAME",
        help=f"only this one, and others with more of it: {', '.join(NAMES)} (default: all)",
    )
    parser.add_argument(
        "-t",
        "--timeout",
        type=seconds,
        default=LIMIT_S,
        metavar="S",
        help=f"how long each check may take, in seconds (default: {LIMIT_S:g})",
    )
    add_displays(parser, curses=False)
    add_nodes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Examine, and return the exit code."""
    from rhubarbe.cli.runtime import run_command
    from rhubarbe.displays.checklist import Checklist
    from rhubarbe.doctor.examine import examine

    names = arguments.check or NAMES
    return run_command(
        partial(examine, reading(arguments), names, arguments.timeout),
        curses=False,
        json=arguments.json,
        report=arguments.report,
        window=lambda: Checklist(sys.stdout, sys.stderr),
    )


def reading(arguments: argparse.Namespace) -> "Reading":
    """Read configuration and inventory, as far as that goes; raises SelectionError."""
    from rhubarbe.doctor.examine import Reading

    try:
        settings = read_settings()
    except ConfigError as error:
        return Reading(fault=str(error))
    inventory, faults = examine_inventory(settings)
    if faults:
        return Reading(settings=settings, inventory_faults=faults)
    if not arguments.nodes and not arguments.all_nodes:
        return Reading(settings=settings, entries=list(inventory))
    entries = selected_entries(settings, inventory, arguments.nodes, all_nodes=arguments.all_nodes)
    return Reading(settings=settings, entries=entries)
