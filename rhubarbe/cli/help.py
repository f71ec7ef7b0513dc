"""List the verbs, or tell all about one, as its --help does."""

import argparse

from rhubarbe.cli.arguments import example
from rhubarbe.cli.dispatch import overview, start

EPILOG = example("rhubarbe-help load")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what help takes."""
    parser.add_argument("verb", nargs="?", metavar="VERB", help="a verb, or how it begins")


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    if arguments.verb is None:
        print(overview())
        return 0
    return start("rhubarbe-help", [arguments.verb, "--help"])
