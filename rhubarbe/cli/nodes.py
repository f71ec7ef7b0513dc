"""Print the full names of nodes, on one line."""

import argparse

from rhubarbe.cli.arguments import (
    SELECTION,
    add_nodes,
    example,
    read_inventory,
    read_settings,
    selected_entries,
)
from rhubarbe.selector import fold

EPILOG = example("export NODES=$(rhubarbe-nodes 1-12 ~4)", SELECTION)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what nodes takes."""
    parser.add_argument(
        "--fold", action="store_true", help="as a selection, such as 1-3,7, instead of names"
    )
    add_nodes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the names."""
    settings = read_settings()
    entries = selected_entries(
        settings, read_inventory(settings), arguments.nodes, all_nodes=arguments.all_nodes
    )
    if arguments.fold:
        print(fold(entry.number for entry in entries))
    else:
        print(" ".join(entry.name for entry in entries))
    return 0
