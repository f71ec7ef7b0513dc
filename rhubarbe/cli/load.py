"""Put a disk image on nodes, all at once.

The nodes are reset into the ramdisk, receive the image by multicast, and are reset onto their disk.
"""

import argparse
from pathlib import Path

from rhubarbe.cli.arguments import (
    EXIT_CODES,
    SELECTION,
    add_displays,
    add_lock_wait,
    add_nodes,
    add_time_limit,
    example,
    find_image_here,
    natural,
    positive,
    read_inventory,
    read_settings,
    selected_entries,
)
from rhubarbe.config.settings import FrisbeeSettings
from rhubarbe.errors import SelectionError
from rhubarbe.repository import find_image

EPILOG = example("rhubarbe-load -i fedora 1-12 '~4'", SELECTION, EXIT_CODES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what load takes."""
    parser.add_argument(
        "-i",
        "--image",
        metavar="IMAGE",
        help="a file, or a name looked for here, then in images_dir"
        " (default: default_image in [frisbee])",
    )
    add_time_limit(parser, "load_default_timeout")
    parser.add_argument(
        "-b",
        "--bandwidth",
        type=positive,
        metavar="MIBPS",
        help="Mibit/s of the multicast (default: bandwidth in [networking])",
    )
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument(
        "-n",
        "--no-reset",
        action="store_true",
        help="the nodes are in the ramdisk already: reset them neither before nor after",
    )
    ends.add_argument(
        "--wait",
        action="store_true",
        help="go on until each node shows over ssh that it runs what was loaded",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="have the nodes read their disks again and compare (default: verify in [frisbee])",
    )
    parser.add_argument(
        "--retries",
        type=natural,
        default=1,
        metavar="N",
        help="how many times a node that failed is tried once more (default: 1)",
    )
    add_lock_wait(parser)
    add_displays(parser)
    add_nodes(parser)


def _image(wanted: str | None, frisbee: FrisbeeSettings) -> Path:
    """Find the image; the default one is the site's, never what lies in this directory."""
    if wanted is None:
        return find_image(frisbee.default_image, frisbee.images_dir, here=False)
    return find_image_here(wanted, frisbee.images_dir)


def run(arguments: argparse.Namespace) -> int:
    """Load, and return the exit code."""
    settings = read_settings()
    inventory = read_inventory(settings)
    try:
        entries = selected_entries(
            settings, inventory, arguments.nodes, all_nodes=arguments.all_nodes
        )
    except SelectionError as error:
        if arguments.image is None and any(word[:1].isalpha() for word in arguments.nodes):
            raise SelectionError(f"{error} (is -i missing before the name of an image?)") from error
        raise
    image = _image(arguments.image, settings.frisbee)

    from rhubarbe.cli.runtime import run_command
    from rhubarbe.gateway.checks.limits import require_room
    from rhubarbe.operations.load import LoadRequest, load

    request = LoadRequest(
        image=image,
        entries=entries,
        limit=arguments.timeout or settings.nodes.load_default_timeout,
        bandwidth_mibps=arguments.bandwidth or settings.networking.bandwidth,
        resets=not arguments.no_reset,
        lock_wait_s=arguments.wait_for_lock,
        retries=arguments.retries,
        verifies=arguments.verify or settings.frisbee.verify,
        waits=arguments.wait,
    )
    require_room(len(entries))
    return run_command(
        lambda bus: load(request, settings, bus),
        curses=arguments.curses,
        json=arguments.json,
        report=arguments.report,
    )
