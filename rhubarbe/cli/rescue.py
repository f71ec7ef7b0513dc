"""Boot nodes into the ramdisk, to stay there: to look at a disk that does not boot, for instance.

They boot the ramdisk again at each reset, until --reset takes them back to their disks, or a load.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from rhubarbe.cli.arguments import (
    EXIT_CODES,
    SELECTION,
    add_displays,
    add_lock_wait,
    add_nodes,
    add_time_limit,
    example,
    read_inventory,
    read_settings,
    selected_entries,
)
from rhubarbe.concurrency.time_limit import within
from rhubarbe.config import Settings
from rhubarbe.errors import GatewayError
from rhubarbe.inventory import Entry
from rhubarbe.shared.trust import name_of
from rhubarbe.text import sanitise
from rhubarbe.transports.netboot import netboot_of

LOOKED_AT_WITHIN_S = 10.0
EPILOG = example("rhubarbe-rescue 7 && telnet fit07", SELECTION, EXIT_CODES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what rescue takes."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--reset", action="store_true", help="take the nodes back: reset them onto their disks"
    )
    what.add_argument(
        "-l",
        "--list",
        action="store_true",
        help="only tell which nodes (default: of all) boot the ramdisk, since when, and by whom",
    )
    add_time_limit(parser, "load_default_timeout")
    add_lock_wait(parser)
    add_displays(parser)
    add_nodes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Rescue, or list; return the exit code."""
    settings = read_settings()
    inventory = read_inventory(settings)
    if arguments.list and not arguments.nodes and not arguments.all_nodes:
        return _list(list(inventory), settings, as_json=arguments.json)
    entries = selected_entries(settings, inventory, arguments.nodes, all_nodes=arguments.all_nodes)
    if arguments.list:
        return _list(entries, settings, as_json=arguments.json)

    from rhubarbe.cli.runtime import run_command
    from rhubarbe.gateway.checks.limits import require_room
    from rhubarbe.operations.rescue import RescueRequest, rescue

    request = RescueRequest(
        entries=entries,
        limit=arguments.timeout or settings.nodes.load_default_timeout,
        releases=arguments.reset,
        lock_wait_s=arguments.wait_for_lock,
    )
    require_room(len(entries))
    return run_command(
        lambda bus: rescue(request, settings, bus),
        curses=arguments.curses,
        json=arguments.json,
        report=arguments.report,
    )


@dataclass(frozen=True, slots=True)
class _Link:
    """One nextboot link: towards a boot entry, since a local time, by a user."""

    node: str
    entry: str
    since: str
    user: str

    def __str__(self) -> str:
        return sanitise(f"{self.node}: boots {self.entry} since {self.since}, by {self.user}")


def _list(entries: Sequence[Entry], settings: Settings, *, as_json: bool) -> int:
    links = [link for entry in entries for link in _links(entry, settings)]
    if as_json:
        print(json.dumps([asdict(link) for link in links], indent=2))
    else:
        print("\n".join(map(str, links)) or "no node boots the ramdisk")
    return 0


def _links(entry: Entry, settings: Settings) -> Iterator[_Link]:
    netboot = netboot_of(entry, settings.for_node(entry.number, entry.name))
    for link in netboot.links:
        try:
            seen = within(LOOKED_AT_WITHIN_S, link.seen)
        except TimeoutError as error:
            raise GatewayError(f"{link.path}: {error}") from error
        if seen is not None:
            since = datetime.fromtimestamp(seen.since).astimezone()
            yield _Link(entry.name, seen.entry, f"{since:%Y-%m-%d %H:%M}", name_of(seen.uid))
