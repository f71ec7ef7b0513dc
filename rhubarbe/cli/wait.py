"""Wait until nodes accept ssh; return 0 as soon as all do.

Every few seconds it tells how many are ready, and what the others answer.
"""

import argparse
import sys

from rhubarbe.cli.arguments import (
    EXIT_CODES,
    SELECTION,
    add_displays,
    add_nodes,
    add_time_limit,
    example,
    read_inventory,
    read_settings,
    seconds,
    selected_entries,
)
from rhubarbe.displays.display import Display

EPILOG = example("rhubarbe-wait -t 120 1-12", SELECTION, EXIT_CODES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what wait takes."""
    add_time_limit(parser, "wait_default_timeout")
    parser.add_argument(
        "-b",
        "--backoff",
        type=seconds,
        metavar="S",
        help="mean seconds between two tries (default: ssh_backoff in [networking])",
    )
    parser.add_argument("-u", "--user", default="root", help="log in as this user (default: root)")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="tell what each node answers meanwhile"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "-n",
        "--telnet",
        action="store_true",
        help="wait until they are in the ramdisk, and answer on telnet",
    )
    what.add_argument(
        "--image",
        metavar="IMAGE",
        help="wait until they run this image, by the stamp that they show over ssh",
    )
    add_displays(parser, silent=True)
    add_nodes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Wait, and return the exit code."""
    settings = read_settings()
    entries = selected_entries(
        settings, read_inventory(settings), arguments.nodes, all_nodes=arguments.all_nodes
    )

    from rhubarbe.cli.runtime import run_command
    from rhubarbe.gateway.checks.limits import TO_WAIT, require_room
    from rhubarbe.operations.wait import WaitRequest, wait

    request = WaitRequest(
        entries=entries,
        limit=arguments.timeout or settings.nodes.wait_default_timeout,
        backoff=arguments.backoff or settings.networking.ssh_backoff,
        user=arguments.user,
        telnet=arguments.telnet,
        image=arguments.image,
    )

    def window() -> Display:
        from rhubarbe.displays.bar import Bar
        from rhubarbe.displays.silent import Silent

        if arguments.silent:
            return Silent()
        return Bar(sys.stdout, verbose=arguments.verbose, notes=False)

    require_room(len(entries), TO_WAIT)
    return run_command(
        lambda bus: wait(request, settings, bus),
        curses=arguments.curses,
        json=arguments.json,
        verbose=arguments.verbose,
        report=arguments.report,
        window=window,
    )
