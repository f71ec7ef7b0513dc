"""Boot nodes into the ramdisk, to stay there: to look at a disk that does not boot, for instance.

They boot the ramdisk again at each reset, until --reset takes them back to their disks, or a load.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

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
from rhubarbe.errors import GatewayError, why
from rhubarbe.inventory import Entry, Inventory
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.trust import Distrust, name_of
from rhubarbe.text import sanitise
from rhubarbe.transports.netboot import Link, Seen, dashed, link_places, netboot_of

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
        return _list(list(inventory), inventory, settings, as_json=arguments.json)
    entries = selected_entries(settings, inventory, arguments.nodes, all_nodes=arguments.all_nodes)
    if arguments.list:
        return _list(entries, inventory, settings, as_json=arguments.json)

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
    path: Path

    @classmethod
    def of(cls, node: str, path: Path, seen: Seen) -> Self:
        """Return what is to be told of a link that was seen."""
        since = datetime.fromtimestamp(seen.since).astimezone()
        return cls(node, seen.entry, f"{since:%Y-%m-%d %H:%M}", name_of(seen.uid), path)

    def __str__(self) -> str:
        return sanitise(f"{self.node}: boots {self.entry} since {self.since}, by {self.user}")


def _list(
    entries: Sequence[Entry], inventory: Inventory, settings: Settings, *, as_json: bool
) -> int:
    """Tell of the links of these nodes, and, if those are all, of links that are no node's."""
    found = list(_links(entries, settings))
    found += _others(entries, inventory, settings, {link.path for link in found})
    if as_json:
        hidden = ("path",)
        shown = [{k: v for k, v in asdict(link).items() if k not in hidden} for link in found]
        print(json.dumps(shown, indent=2))
    else:
        print("\n".join(map(str, found)) or "no node boots the ramdisk")
    return 0


def _links(entries: Sequence[Entry], settings: Settings) -> Iterator[_Link]:
    for entry in entries:
        netboot = netboot_of(entry, settings.for_node(entry.number, entry.name))
        for link in netboot.links:
            if seen := _looked_at(link):
                yield _Link.of(entry.name, link.path, seen)


def _others(
    entries: Sequence[Entry], inventory: Inventory, settings: Settings, told: set[Path]
) -> Iterator[_Link]:
    """Yield the links that other programs made, for nodes of another kind, or for no node."""
    nodes = {dashed(entry.control.mac): entry.name for entry in inventory}
    wanted = {entry.name for entry in entries}
    for directory, pattern in link_places(inventory, settings):
        for name in _names_in(directory):
            path = directory / name
            if path in told or not pattern.fullmatch(name):
                continue
            node = next((nodes[mac] for mac in nodes if mac in name), "")
            if node in wanted or (not node and len(wanted) == len(nodes)):
                seen = _looked_at(Link(path, "", pattern, ""))
                if seen and seen.is_link:
                    yield _Link.of(node or f"{path}, of no node", path, seen)


def _names_in(directory: Path) -> list[str]:
    try:
        with Directory.open(directory, follows=True) as opened:
            return opened.names()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise GatewayError(f"{directory}: {why(error)}") from error


def _looked_at(link: Link) -> Seen | None:
    try:
        return within(LOOKED_AT_WITHIN_S, link.seen)
    except Distrust as error:
        raise GatewayError(str(error)) from error
    except OSError as error:  # TimeoutError is one
        raise GatewayError(f"{link.path}: {why(error)}") from error
