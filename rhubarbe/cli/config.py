"""Print the configuration in effect, and from which file each value comes."""

import argparse

from rhubarbe.cli.arguments import example, read_inventory, read_settings
from rhubarbe.config import SECTIONS, Settings
from rhubarbe.config.section import text_of
from rhubarbe.config.template import template
from rhubarbe.errors import ConfigError
from rhubarbe.inventory import is_there
from rhubarbe.text import sanitise

EPILOG = example("rhubarbe-config frisbee networking")

DEFAULT = "built-in default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what config takes."""
    parser.add_argument(
        "--template",
        action="store_true",
        help="print a file that sets nothing: every setting, explained, at its default",
    )
    parser.add_argument(
        "--check-state",
        action="store_true",
        help="tell what is wrong with the directories that users share, and how to repair it",
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"some of {', '.join(SECTIONS)} (all)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the sections as INI, each value with its origin; or the template; or what is wrong."""
    if arguments.template:
        print(template(), end="")
        return 0
    settings = read_settings(always=True)
    if arguments.check_state:
        return _check_state(settings)
    for name in arguments.sections or SECTIONS:
        if name not in SECTIONS:
            raise ConfigError(f"no section {name!r}; there are {', '.join(SECTIONS)}")
        print("\n".join([f"[{name}]", *_lines(settings, name), ""]))
    if settings.of_nodes and is_there(settings.testbed.inventory_path):
        read_inventory(settings)  # where the nodes are checked that values are for
    return 0


def _check_state(settings: Settings) -> int:
    from rhubarbe.gateway.checks.places import faults

    found = faults(settings)
    for words in found:
        print(sanitise(words))
    if not found:
        print("the directories that users share are as they should be")
    return 1 if found else 0


def _lines(settings: Settings, section: str) -> list[str]:
    values = {}
    for key in SECTIONS[section].declared():
        value = getattr(getattr(settings, section), key)
        values[key] = text_of(value)
    origins = dict(settings.origins)
    for each in settings.of_nodes:
        if each.section == section:
            values[key := f"{each.key}.{each.nodes}"] = text_of(each.value)
            origins[section, key] = each.origin.removesuffix(f" ({key})")
    return [
        f"{key} = {text}".rstrip().ljust(48) + f"  # {origins.get((section, key), DEFAULT)}"
        for key, text in values.items()
    ]
