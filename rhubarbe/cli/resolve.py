"""Print the file that load would take for a name: looked for here, then in the repository."""

import argparse
from pathlib import Path

from rhubarbe.cli.arguments import example, find_image_here, read_settings
from rhubarbe.repository import real_path
from rhubarbe.text import date_and_size, sanitise

EPILOG = example("ls -l $(rhubarbe-resolve fedora)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what resolve takes."""
    parser.add_argument(
        "-r", "--real", action="store_true", help="follow links to the file that is not an alias"
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="tell also date and size, and the file that a link leads to",
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a name, with or without .ndz, or a path"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one path a name."""
    repository = read_settings().frisbee.images_dir
    paths = [find_image_here(name, repository) for name in arguments.images]
    for path in paths:
        shown = real_path(path) if arguments.real else path
        print(_described(path, shown) if arguments.verbose else shown)
    return 0


def _described(path: Path, shown: str | Path) -> str:
    status, real = path.stat(), real_path(path)
    leads = f" -> {real}" if str(real) != str(shown) else ""
    row = date_and_size(status.st_mtime, status.st_size)
    return f"{row}  {sanitise(f'{shown}{leads}')}"
