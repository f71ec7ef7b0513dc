"""Arguments that several verbs share, and what they mean."""

import argparse
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from rhubarbe.config import Settings, load_settings
from rhubarbe.config.settings import NodeValue
from rhubarbe.errors import ConfigError, InventoryError, SelectionError
from rhubarbe.inventory import Entry, Inventory, load_inventory, readable_entries
from rhubarbe.parser import Parser
from rhubarbe.selector import fold, select
from rhubarbe.text import sanitise
from rhubarbe.version import version

SELECTION = """\
NODES are words such as 3, fit03, 1-12, 1-10-2 (a step), 1,5,7 and '~4' (not 4; quoted, since zsh
would expand it), taken from left to right. Without any, the nodes are those of $NODES; with -a,
those of $ALL_NODES, or of all_scope in the configuration."""

SELECTION_BUT_ALL = """\
NODES are as for rhubarbe-load; without any, all nodes of the inventory."""

DEFAULT_COLUMNS = 80
EXIT_CODES = """\
Exit code: 0 when all went well on all the nodes, 1 otherwise, 2 for a wrong command line."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Asks the terminal itself for its width: the library imports much for that, even without help.

    Each parser makes one of these, to look at its arguments.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(1).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


def make_parser(program: str, verb: ModuleType) -> argparse.ArgumentParser:
    """Return the parser of one verb: its module's docstring, arguments and example."""
    parser = Parser(
        prog=program,
        description=verb.__doc__,
        epilog=verb.EPILOG,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"rhubarbe {version()}")
    verb.add_arguments(parser)
    return parser


def add_nodes(parser: argparse.ArgumentParser) -> None:
    """Add the selection of nodes."""
    parser.add_argument("nodes", nargs="*", metavar="NODES", help="which nodes; see below")
    parser.add_argument(
        "-a", "--all-nodes", action="store_true", help="all nodes, less those given with '~4'"
    )


def add_time_limit(parser: argparse.ArgumentParser, setting: str) -> None:
    """Add the time limit of the whole command."""
    parser.add_argument(
        "-t",
        "--timeout",
        type=seconds,
        metavar="S",
        help=f"time limit in seconds (default: {setting} in [nodes])",
    )


def add_displays(
    parser: argparse.ArgumentParser, *, curses: bool = True, silent: bool = False
) -> None:
    """Add the choice of a display."""
    choice = parser.add_mutually_exclusive_group()
    if curses:
        choice.add_argument(
            "-c", "--curses", action="store_true", help="a full screen, one row a node"
        )
    choice.add_argument(
        "--json", action="store_true", help="one JSON object an event, for programs"
    )
    if silent:
        choice.add_argument(
            "-s", "--silent", action="store_true", help="print nothing: the exit code tells"
        )
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write the outcome of each node into this file, as JSON",
    )


def add_lock_wait(parser: argparse.ArgumentParser) -> None:
    """Add the option for how long to wait for nodes that another command works on."""
    parser.add_argument(
        "--wait-for-lock",
        type=seconds,
        default=0.0,
        metavar="S",
        help="wait up to S seconds for nodes that another command works on (default: refuse)",
    )


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, found {text!r}")
    return value


def positive(text: str) -> int:
    """Read a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return value


def natural(text: str) -> int:
    """Read a whole number from 0 on."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, found {text!r}")
    return value


def complain(words: str) -> None:
    """Say on standard error what stops nothing; others may have words in it."""
    print(sanitise(words), file=sys.stderr)


def find_image_here(wanted: str, repository: Path) -> Path:
    """Find an image that the user named; if it is here and a stranger's, say whose it is.

    Raises ImageError.
    """
    from rhubarbe.repository import find_image, stranger_of

    found = find_image(wanted, repository)
    if stranger := stranger_of(wanted, found):
        complain(f"{found}: this image, in the current directory, is {stranger}'s, not yours")
    return found


def read_settings(*, always: bool = False) -> Settings:
    """Read the configuration that this process sees; tell a user once what has no effect in it.

    Or `always`, for who wants to know.
    """
    settings = load_settings(os.environ)
    if settings.notices:
        from rhubarbe.cli.told import is_news  # most sites have nothing to be told

        for notice in settings.notices:
            if is_news(notice) or always:
                complain(notice)
    return settings


def read_inventory(settings: Settings) -> Inventory:
    """Read the inventory that the configuration names; refuse values for nodes that it lacks."""
    inventory = load_inventory(settings.testbed.inventory_path, settings.testbed.regularname)
    if faults := driver_faults(settings, inventory):
        raise InventoryError(faults[0])
    if faults := node_faults(settings, inventory):
        raise ConfigError(faults[0])
    return inventory


def examine_inventory(settings: Settings) -> tuple[Inventory, list[str]]:
    """Return the inventory, and all that is wrong with it or is configured wrongly for its nodes.

    It has no nodes where anything is wrong with it. No fault hides another one.
    """
    path = settings.testbed.inventory_path
    entries, faults = readable_entries(path, settings.testbed.regularname)
    faults += driver_faults(settings, entries)
    if faults:
        return Inventory((), str(path)), faults
    inventory = Inventory(entries, str(path))
    return inventory, node_faults(settings, inventory)


def driver_faults(settings: Settings, inventory: Iterable[Entry]) -> list[str]:
    """Return what is wrong with the kinds that the inventory names for nodes, each in one line."""
    is_usual = ("nodes", "netboot") not in settings.origins and not any(
        value.key == "netboot" for value in settings.of_nodes
    )
    if is_usual and not any(entry.power or entry.netboot for entry in inventory):
        return []
    from rhubarbe.node import kinds  # few sites need it

    faults = kinds.driver_faults(inventory, settings)
    return [f"{settings.testbed.inventory_path}: {fault}" for fault in faults]


# A node that is away keeps its boot entry for the day on which it comes back.
MAY_BE_AWAY = ("frisbee_image",)


def node_faults(settings: Settings, inventory: Inventory) -> list[str]:
    """Return what is said in the configuration of nodes that there are not, each in one line."""
    return [
        f"{value.origin}: {lack}"
        for value in settings.of_nodes
        if value.key not in MAY_BE_AWAY
        and (lack := _lack(value, inventory, settings.testbed.inventory_path))
    ]


def _lack(value: NodeValue, inventory: Inventory, source: Path) -> str:
    """Say which of its nodes there are not; empty where there are all."""
    there = {entry.number for entry in inventory if value.is_for(entry.number, entry.name)}
    if not there:
        return f"{value.nodes} is no node of {source}, and not this gateway"
    if lacking := sorted(value.numbers - there):
        are = "are no nodes" if lacking[1:] else "is no node"
        return f"{fold(lacking)} {are} of {source}"
    return ""


def selected_entries(
    settings: Settings, inventory: Inventory, words: list[str], *, all_nodes: bool
) -> list[Entry]:
    """Return the nodes that a command line and the environment select; raises SelectionError."""
    names = (settings.testbed.regularname, settings.testbed.rebootname)
    nodes = inventory.numbers()
    start: list[int] = []
    if all_nodes:
        scope = os.environ.get("ALL_NODES") or settings.testbed.all_scope
        start = select(scope.split(), names, nodes=nodes)
    elif not words:
        words = os.environ.get("NODES", "").split()
    numbers = select(words, names, start, nodes)
    if not numbers:
        raise SelectionError("no node is selected: give some (1-12), or set $NODES, or use -a")
    return inventory.choose(numbers)


def example(text: str, *parts: str) -> str:
    """Return the end of a verb's help: an example, and explanations."""
    return "\n\n".join([f"example:\n  {text}", *parts])


def one_node(settings: Settings, inventory: Inventory, word: str) -> Entry:
    """Return the only node that a word selects; raises SelectionError."""
    entries = selected_entries(settings, inventory, [word], all_nodes=False)
    if len(entries) > 1:
        raise SelectionError(
            f"{shlex.quote(word)} selects {len(entries)} nodes: one is saved at a time"
        )
    return entries[0]
