"""Move an image into the repository, for everybody to load; checked whole before it is there."""

import argparse

from rhubarbe.cli.arguments import example, find_image_here, read_settings
from rhubarbe.cli.signals import heed_termination
from rhubarbe.errors import ImageError
from rhubarbe.repository.share import ShareRequest, plan, receive, received
from rhubarbe.shared.directory import may_write
from rhubarbe.text import sanitise

EPILOG = example(
    "rhubarbe-share mywork -o ubuntu-tools -a default",
    "With -o, an image that is in the repository gets another name there; its aliases follow.",
    "Who may not write into the repository is told what would be done, and nothing is done.",
    "Exit code: 0 when all was done, or -n was given; 1 otherwise, 2 for a wrong command line.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what share takes."""
    parser.add_argument(
        "-o", "--output", metavar="NAME", help="call it NAME.ndz there (default: as it is called)"
    )
    parser.add_argument(
        "-a",
        "--alias",
        action="append",
        default=[],
        metavar="NAME",
        help="let NAME be a link to it, in place of a link of that name; may be repeated",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace an image of that name, at one stroke"
    )
    parser.add_argument(
        "-c",
        "--clean",
        action="store_true",
        help="remove older saves of that node beside it, and what is left of cut ones",
    )
    parser.add_argument(
        "--receiving",
        action="store_true",
        help="have IMAGE.ndz.partial ready in the repository, to be written (for rhubarbe-sync)",
    )
    parser.add_argument(
        "--received",
        action="store_true",
        help="the image is IMAGE.ndz.partial in the repository, and complete (for rhubarbe-sync)",
    )
    parser.add_argument("image", metavar="IMAGE", help="a file, or a name as load takes it")


def run(arguments: argparse.Namespace) -> int:
    """Say and do each step; return the exit code."""
    repository = read_settings().frisbee.images_dir
    if arguments.receiving:
        receive(arguments.image, repository)
        return 0
    if arguments.received:
        steps = received(arguments.image, repository)
    else:
        request = ShareRequest(
            image=arguments.image,
            repository=repository,
            name=arguments.output,
            aliases=arguments.alias,
            replaces=arguments.force,
            cleans=arguments.clean,
        )
        find_image_here(arguments.image, repository)
        steps = plan(request)
    if not steps:
        print(f"nothing to do: it is in {sanitise(str(repository))} already, under this name")
    may = may_write(repository)
    heed_termination()
    for step in steps:
        print(
            f"{'' if may and not arguments.dry_run else 'would '}{sanitise(step.words)}", flush=True
        )
        if may and not arguments.dry_run:
            step.do()
    if not may and not arguments.dry_run:
        raise ImageError(f"nothing was done: you may not write into {repository}; try sudo")
    return 0
