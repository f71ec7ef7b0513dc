"""Print a file to start from: a configuration, or, as YAML, what there is at the testbed."""

import argparse

from rhubarbe.cli.arguments import example, read_settings
from rhubarbe.config.template import template
from rhubarbe.site_templates import OUTLETS_TEMPLATE, nodes_template

EPILOG = example("rhubarbe-template -n > /etc/rhubarbe/inventory-nodes.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what template takes."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "-c", "--config", action="store_true", help="a configuration that sets nothing (default)"
    )
    what.add_argument("-n", "--nodes", action="store_true", help="two nodes, for inventory_path")
    what.add_argument(
        "-u", "--pdus", action="store_true", help="PDUs and a device, for inventory_pdus_path"
    )
    what.add_argument("-p", "--phones", action="store_true", help="refused: phones are left out")
    parser.set_defaults(refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    if arguments.phones:
        arguments.refuse("argument -p: phones are left out")
    if arguments.nodes:
        testbed = read_settings().testbed
        text = nodes_template(testbed.regularname, testbed.rebootname)
    elif arguments.pdus:
        text = OUTLETS_TEMPLATE
    else:
        text = template()
    print(text, end="")
    return 0
