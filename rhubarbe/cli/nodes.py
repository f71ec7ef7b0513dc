"""Print the full names of nodes, on one line: of those selected, or only of some among them."""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from rhubarbe.cli.arguments import (
    EXIT_CODES,
    SELECTION,
    add_nodes,
    complain,
    example,
    read_inventory,
    read_settings,
    selected_entries,
)
from rhubarbe.config import Settings
from rhubarbe.errors import ImageError
from rhubarbe.gateway.checks.limits import TO_ASK, require_room
from rhubarbe.inventory import Entry
from rhubarbe.selector import fold

EPILOG = example("export NODES=$(rhubarbe-nodes --on 1-12 '~4')", SELECTION, EXIT_CODES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what nodes takes."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--fold", action="store_true", help="as a selection, such as 1-3,7, instead of names"
    )
    form.add_argument("--count", action="store_true", help="only how many they are")
    parser.add_argument(
        "--on", action="store_true", help="only those that are on, by their power cards"
    )
    parser.add_argument(
        "--up", action="store_true", help="only those that accept connections on their ssh port"
    )
    parser.add_argument(
        "--image", metavar="IMAGE", help="only those last loaded with this image, by the history"
    )
    add_nodes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the names; say on standard error which cards do not answer."""
    settings = read_settings()
    entries = selected_entries(
        settings, read_inventory(settings), arguments.nodes, all_nodes=arguments.all_nodes
    )
    silent: list[str] = []
    if arguments.image is not None:
        entries = _loaded(entries, arguments.image, settings)
    if arguments.on or arguments.up:
        entries, silent = _living(entries, arguments, settings)
    print(_text(entries, arguments))
    for line in silent:
        print(line, file=sys.stderr)
    return 1 if silent else 0


def _text(entries: Sequence[Entry], arguments: argparse.Namespace) -> str:
    if arguments.count:
        return str(len(entries))
    if arguments.fold:
        return fold(entry.number for entry in entries)
    return " ".join(entry.name for entry in entries)


def _loaded(entries: Sequence[Entry], wanted: str, settings: Settings) -> list[Entry]:
    """Keep the nodes that were last loaded with an image: its name, an alias, or a path."""
    from rhubarbe.gateway.state.history import History
    from rhubarbe.operations.loaded import last_loaded
    from rhubarbe.repository import find_image, real_path

    names = {wanted}
    with contextlib.suppress(ImageError):  # it may be gone, and still be on nodes
        names.add(real_path(find_image(wanted, settings.frisbee.images_dir)))
    last = last_loaded(History(settings.testbed.state_dir).runs(complain))
    return [
        entry
        for entry in entries
        if (loaded := last.get(entry.name)) and any(map(loaded.is_called, names))
    ]


def _living(
    entries: Sequence[Entry], arguments: argparse.Namespace, settings: Settings
) -> tuple[list[Entry], list[str]]:
    """Keep the nodes that are on, up, or both; also return what to say of silent cards."""
    import asyncio

    from rhubarbe.operations.survey import which_are_on, which_are_up

    async def look() -> tuple[list[Entry], list[str]]:
        kept, silent = list(entries), list[str]()
        if arguments.on:
            kept, silent = await which_are_on(kept, settings)
        if arguments.up:
            kept = await which_are_up(kept, settings)
        return kept, silent

    require_room(len(entries), TO_ASK)
    return asyncio.run(look())
