"""Print which version this is."""

import argparse

from rhubarbe.cli.arguments import example
from rhubarbe.version import version

EPILOG = example("rhubarbe-version")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare that version takes nothing."""


def run(_: argparse.Namespace) -> int:
    """Print it, as --version of each command does."""
    print(f"rhubarbe {version()}")
    return 0
