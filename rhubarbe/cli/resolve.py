"""Print the file that load would take for a name: looked for here, then in the repository."""

import argparse

from rhubarbe.cli.arguments import example, find_image_here, read_settings
from rhubarbe.repository import real_path

EPILOG = example("ls -l $(rhubarbe-resolve fedora)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what resolve takes."""
    parser.add_argument(
        "-r", "--real", action="store_true", help="follow links to the file that is not an alias"
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a name, with or without .ndz, or a path"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one path a name."""
    repository = read_settings().frisbee.images_dir
    paths = [find_image_here(name, repository) for name in arguments.images]
    for path in paths:
        print(real_path(path) if arguments.real else path)
    return 0
