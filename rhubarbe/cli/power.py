"""Ask the power cards of nodes, or have them switch nodes and their USRPs.

The verbs that share this module are told apart by the name of their parser.
"""

import argparse
import sys
from functools import partial

from rhubarbe.cli.arguments import (
    EXIT_CODES,
    SELECTION,
    add_displays,
    add_lock_wait,
    add_nodes,
    example,
    read_inventory,
    read_settings,
    seconds,
    selected_entries,
)
from rhubarbe.config import Settings
from rhubarbe.errors import SelectionError
from rhubarbe.inventory import Entry, Inventory
from rhubarbe.outlets import Device

EPILOG = example("rhubarbe-status -a '~4'", SELECTION, EXIT_CODES)

SEEN = "Each node is seen to do it: a card that only says ok is an error."
WORDS = {
    "status": "Tell whether nodes are on or off, by the word of their power cards.",
    "info": "Print what the power cards of nodes tell about themselves.",
    "usrpstatus": "Tell whether the USRPs of nodes are on or off.",
    "on": f"Switch nodes on.\n\n{SEEN}",
    "off": f"Switch nodes off.\n\n{SEEN}",
    "reset": f"Reset nodes that are on.\n\n{SEEN}",
    "usrpon": "Switch the USRPs of nodes on.",
    "usrpoff": "Switch the USRPs of nodes off.",
    "bothoff": f"Switch nodes off, and their USRPs.\n\n{SEEN}",
    "bye": "Leave the testbed: switch nodes off, and their USRPs.\n\nWithout NODES that is all of"
    " them, whatever $NODES says, and the devices on PDUs that\nhave auto_turn_off; what that is,"
    f" is told first. Nothing is asked.\n\n{SEEN}",
}
ASKING = ("status", "info", "usrpstatus")
SOFTLY = ("off", "bothoff", "bye")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes by whose name the parser goes."""
    verb = parser.prog.removeprefix("rhubarbe-")
    parser.description = WORDS[verb]
    nodes = "" if verb == "bye" else " 1-12 '~4'"
    parser.epilog = example(f"rhubarbe-{verb}{nodes}", SELECTION, EXIT_CODES)
    parser.set_defaults(verb=verb, image=False, soft=False, parts=None, wait_for_lock=0.0)
    _add_time_limit(parser, asks=verb in ASKING)
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="a line for each node, also where several have the same to say",
    )
    if verb == "status":
        parser.add_argument(
            "--image",
            action="store_true",
            help="tell what is on their disks instead: by the last load, and over ssh if they are"
            " up",
        )
    if verb == "bye":
        _add_parts(parser)
    if verb in SOFTLY:
        parser.add_argument(
            "--soft",
            action="store_true",
            help="shut the nodes down over ssh first, those that let us in",
        )
    if verb not in ASKING:
        add_lock_wait(parser)
    add_displays(parser, curses=False)
    add_nodes(parser)


def _add_parts(parser: argparse.ArgumentParser) -> None:
    """Add the parts of everything: only those that are given, or all."""
    for letter, part, words in (
        ("-n", "nodes", "of everything only nodes, with their USRPs"),
        ("-u", "pdus", "of everything only the devices on PDUs that have auto_turn_off"),
        ("-p", "phones", "of everything only phones, of which none are known here"),
    ):
        parser.add_argument(
            letter, f"--{part}", dest="parts", action="append_const", const=part, help=words
        )


def _add_time_limit(parser: argparse.ArgumentParser, *, asks: bool) -> None:
    words = (
        "how long a card may take to answer, in seconds (default: cmc_default_timeout in [nodes])"
        if asks
        else "time limit in seconds (default: cmc_safe_timeout in [nodes], and what taking turns"
        " takes)"
    )
    parser.add_argument("-t", "--timeout", type=seconds, metavar="S", help=words)


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says, and return the exit code."""
    settings = read_settings()
    inventory = read_inventory(settings)
    leaves = arguments.verb == "bye" and not arguments.nodes
    parts = arguments.parts if leaves else ["nodes"]
    entries: list[Entry] = []
    if "nodes" in (parts or ["nodes"]):
        entries = selected_entries(
            settings, inventory, arguments.nodes, all_nodes=arguments.all_nodes or leaves
        )
    devices = _devices(settings, inventory) if "pdus" in (parts or ["pdus"]) else []
    if not entries and not devices:
        none = "there are no phones here"
        if "pdus" in (parts or ["pdus"]):
            none = "no device on a PDU has auto_turn_off"
        raise SelectionError(f"nothing to switch off: {none}")

    from rhubarbe.cli.runtime import run_command
    from rhubarbe.displays.roster import AnswerWriter
    from rhubarbe.gateway.checks.limits import TO_ASK, TO_WORK, require_room
    from rhubarbe.operations.power import PowerRequest, power

    if arguments.image:
        from rhubarbe.operations.survey import tell_images

        operation = partial(tell_images, entries, arguments.timeout, settings)
    else:
        request = PowerRequest(
            verb=arguments.verb,
            entries=entries,
            limit=arguments.timeout,
            softly=arguments.soft,
            lock_wait_s=arguments.wait_for_lock,
            everything=leaves,
            devices=devices,
        )
        operation = partial(power, request, settings)
    require_room(len(entries), TO_ASK if arguments.verb in ASKING else TO_WORK)
    return run_command(
        operation,
        curses=False,
        json=arguments.json,
        report=arguments.report,
        window=lambda: AnswerWriter(sys.stdout, sys.stderr, verbose=arguments.verbose),
    )


def _devices(settings: Settings, inventory: Inventory) -> list[Device]:
    """Return the devices that are switched off at the end of the day."""
    from rhubarbe.cli.outlets import has_outlets, read_outlets, require_sound

    if not has_outlets(settings):
        return []
    outlets = read_outlets(settings)
    devices = [device for device in outlets if device.auto_turn_off]
    if devices:
        require_sound(outlets, inventory, settings)
    return devices
