"""List devices that are plugged into outlets of PDUs and are no nodes; ask for them, switch them.

An order is seen to be done: a PDU that only says ok is an error. A device of several inputs is off
only when all are. Devices with `auto_turn_off` are switched off by rhubarbe-bye, too.
"""

import argparse
import json
import sys
from functools import partial

from rhubarbe.cli.arguments import (
    add_displays,
    add_lock_wait,
    example,
    read_inventory,
    read_settings,
    seconds,
)
from rhubarbe.cli.outlets import read_outlets, require_sound
from rhubarbe.errors import RhubarbeError, SelectionError
from rhubarbe.outlets import Device, Outlets
from rhubarbe.text import sanitise

EPILOG = example(
    "rhubarbe-pdu status fan lamp",
    "The devices are those of inventory_pdus_path in [testbed]. Without NAMES, list and status\n"
    "are of all.",
    "Exit code: 0 where all are on, or it was done; 1 where one is off; 255 where something\nwent"
    " wrong; 2 for a wrong command line.",
)
VERBS = ("list", "status", "on", "off", "reset")


class _Failed(RhubarbeError):
    """Whatever is wrong: 1 would say that a device is off."""

    exit_code = 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what pdu takes."""
    parser.add_argument(
        "-t",
        "--timeout",
        type=seconds,
        metavar="S",
        help="how long a PDU may take to answer status, or all of an order, in seconds (default:"
        " cmc_default_timeout, and cmc_safe_timeout, in [nodes])",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="with list: also the outlets of each"
    )
    add_lock_wait(parser)
    add_displays(parser, curses=False)
    parser.add_argument("verb", choices=VERBS, help="what to do")
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="which devices")


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says, and return the exit code."""
    try:
        return _run(arguments)
    except RhubarbeError as error:
        raise _Failed(str(error)) from error


def _run(arguments: argparse.Namespace) -> int:
    settings = read_settings()
    outlets = read_outlets(settings)
    if arguments.verb == "list":
        return _list(_chosen(outlets, arguments), arguments)

    devices = _chosen(outlets, arguments)
    require_sound(outlets, read_inventory(settings), settings)

    from rhubarbe.cli.runtime import run_command
    from rhubarbe.displays.roster import AnswerWriter
    from rhubarbe.operations.devices import DeviceRequest, attend

    request = DeviceRequest(
        verb=arguments.verb,
        devices=devices,
        limit=arguments.timeout,
        lock_wait_s=arguments.wait_for_lock,
    )
    return run_command(
        partial(attend, request, settings),
        curses=False,
        json=arguments.json,
        report=arguments.report,
        window=lambda: AnswerWriter(sys.stdout, sys.stderr),
    )


def _chosen(outlets: Outlets, arguments: argparse.Namespace) -> list[Device]:
    if arguments.names:
        return outlets.choose(arguments.names)
    if arguments.verb not in ("list", "status"):
        names = " ".join(device.name for device in outlets)
        raise SelectionError(f"no device is named to switch {arguments.verb}; there are: {names}")
    return list(outlets)


def _list(devices: list[Device], arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps([_object(device) for device in devices], indent=2))
        return 0
    width = max((len(device.name) for device in devices), default=0)
    for device in devices:
        told = [device.description, "off at bye" if device.auto_turn_off else ""]
        if arguments.verbose:
            told += [each.name for each in device.inputs]
            told += [f"ssh {device.ssh_hostname}"] if device.ssh_hostname else []
        print(f"{device.name:{width}}  {sanitise('; '.join(filter(None, told)))}".rstrip())
    return 0


def _object(device: Device) -> dict[str, object]:
    return {
        "name": device.name,
        "description": device.description,
        "inputs": [each.name for each in device.inputs],
        "ssh_hostname": device.ssh_hostname,
        "auto_turn_off": device.auto_turn_off,
    }
