"""Save the disk of a node into an image on this gateway; it has its name only when it is whole."""

import argparse
from datetime import datetime

from rhubarbe.cli.arguments import (
    EXIT_CODES,
    add_displays,
    add_lock_wait,
    add_time_limit,
    example,
    one_node,
    read_inventory,
    read_settings,
)
from rhubarbe.repository import new_image_path

EPILOG = example("rhubarbe-save 4 -o mywork -c 'with my tools'", EXIT_CODES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what save takes."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="NAME",
        help="save as NAME.ndz (default: a name made of node and date); never overwrites",
    )
    parser.add_argument(
        "-c", "--comment", default="", help="words for /etc/rhubarbe-image in the image"
    )
    add_time_limit(parser, "save_default_timeout")
    parser.add_argument(
        "-n",
        "--no-reset",
        action="store_true",
        help="the node is in the ramdisk already: reset it neither before nor after",
    )
    add_lock_wait(parser)
    add_displays(parser, curses=False)
    parser.add_argument("node", metavar="NODE", help="one node, such as 4 or fit04")


def run(arguments: argparse.Namespace) -> int:
    """Save, and return the exit code."""
    settings = read_settings()
    entry = one_node(settings, read_inventory(settings), arguments.node)
    now = datetime.now().astimezone()
    image = new_image_path(arguments.output, entry.name, now)

    from rhubarbe.cli.runtime import run_command
    from rhubarbe.gateway.checks.limits import require_room
    from rhubarbe.operations.save import SaveRequest, save
    from rhubarbe.shared.trust import user_name

    request = SaveRequest(
        entry=entry,
        image=image,
        author=user_name().replace(" ", "-"),  # a word of the stamp
        comment=arguments.comment,
        now=now,
        limit=arguments.timeout or settings.nodes.save_default_timeout,
        resets=not arguments.no_reset,
        lock_wait_s=arguments.wait_for_lock,
    )
    require_room(1)
    return run_command(
        lambda bus: save(request, settings, bus),
        curses=False,
        json=arguments.json,
        report=arguments.report,
    )
