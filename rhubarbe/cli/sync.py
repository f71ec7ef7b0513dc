"""Copy images from or to another gateway, with rsync over ssh.

An image has its name at the other end only when all of it is there and was checked. What is cut
short stays partial, and running the same again goes on with it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rhubarbe.cli.arguments import example, read_settings
from rhubarbe.cli.signals import heed_termination
from rhubarbe.errors import GatewayError, RhubarbeError
from rhubarbe.repository.sync import Peer, Remote, Route, Transfer, Verdict, compare, local_images
from rhubarbe.shared.directory import may_write
from rhubarbe.text import sanitise

EPILOG = example(
    "rhubarbe-sync --pull root@faraday fedora ubuntu",
    "Only images_dir of both gateways is looked at, not the aliases in it; rhubarbe is needed at\n"
    "both ends. An image is never overwritten: where another one has its name, that is said.",
    "Exit code: 0 when each image is at both ends, 1 otherwise, 2 for a wrong command line.",
)

MIB = 1 << 20
WIDEST = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what sync takes."""
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument("--pull", action="store_true", help="from HOST to here")
    direction.add_argument("--push", action="store_true", help="from here to HOST")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument(
        "-e",
        "--ssh",
        default=os.environ.get("RSYNC_RSH") or "ssh",
        metavar="COMMAND",
        help="how to reach HOST, such as 'ssh -p 2222' (default: $RSYNC_RSH, else ssh)",
    )
    parser.add_argument("host", metavar="HOST", help="the other gateway, as ssh takes it")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="which images (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """Copy what is missing; return the exit code."""
    repository = read_settings().frisbee.images_dir

    heed_termination()
    peer = Peer(arguments.host, arguments.ssh)
    there, remote = peer.repository()
    local = local_images(repository)
    source, target = (remote, local) if arguments.pull else (local, remote)
    transfers = compare(source, target, arguments.images)
    if arguments.pull and not may_write(repository):
        raise GatewayError(f"you may not write into {repository}")
    route = Route(peer, Path(repository), there, shows=sys.stdout.isatty())
    return _copy(transfers, route.pull if arguments.pull else route.push, arguments)


def _copy(
    transfers: "Sequence[Transfer]",
    copy: "Callable[[Remote], None]",
    arguments: argparse.Namespace,
) -> int:
    code = 0
    width = max((len(sanitise(transfer.image.name)) for transfer in transfers), default=0)
    width = min(width, WIDEST)  # a long name that a peer made up must not widen all the lines
    for transfer in transfers:
        image, verdict = transfer.image, transfer.verdict
        name = sanitise(image.name)
        print(f"{name:<{width}}  {image.size / MIB:8.2f}M  {verdict}", flush=True)
        if verdict in (Verdict.OTHER, Verdict.BAD_NAME):
            code = 1
        elif verdict is Verdict.COPY and not arguments.dry_run:
            try:
                copy(image)
            except RhubarbeError as error:
                print(f"rhubarbe-sync: {name}: {sanitise(str(error))}", file=sys.stderr, flush=True)
                code = 1
            else:
                print(f"{name:<{width}}  {'':9}  copied, and whole", flush=True)
    return code
