"""Make this Debian machine a gateway: group, directories, configuration, DHCP and TFTP, ramdisk.

What lacks is shown, then made; what is there, and not of this program, stays as it is. A second run
changes nothing. Only root can make what is shown.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.cli.arguments import example
from rhubarbe.cli.signals import heed_termination
from rhubarbe.errors import GatewayError
from rhubarbe.text import sanitise

if TYPE_CHECKING:
    from rhubarbe.setup.record import Record
    from rhubarbe.setup.site import Wishes

EPILOG = example(
    "rhubarbe-setup --dry-run --inventory nodes.json --user alice",
    "What is not said is found out: on which interface the nodes are, who serves DHCP and TFTP\n"
    "there, and which directory TFTP serves. docs/SETUP.md tells how to do all of it by hand.",
    "Exit code: 0 when all is as it should be, 1 when something could not be made, or with --undo\n"
    "was left, 2 for a wrong command line.",
)
WAYS = ("serve", "proxy", "none")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what setup takes."""
    parser.add_argument(
        "--undo", action="store_true", help="remove what it made and nobody changed"
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="only show what would be done, and written"
    )
    parser.add_argument(
        "--user",
        action="append",
        default=[],
        metavar="NAME",
        help="who may load, besides root; may be repeated",
    )
    _add_network(parser)
    _add_files(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--interface", default="", metavar="NAME", help="the one that the nodes are on")
    add("--address", type=_address, metavar="IP/LEN", help="its address (default: the one it has)")
    add(
        "--dhcp",
        default="",
        choices=WAYS,
        help="serve addresses and boot files, boot files beside another server, or nothing",
    )
    add("--tftp-root", type=_path, metavar="DIR", help="what TFTP serves (/srv/tftp)")


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--inventory", type=Path, metavar="FILE", help="the nodes (default: two to edit)")
    add("--group", default="", metavar="NAME", help="of those who may load (rhubarbe)")
    add("--kernel", default="", metavar="full|cloud|PACKAGE", help="of the ramdisk (full)")
    add(
        "--with-firmware",
        dest="firmware",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="what cards of the nodes want, such as firmware-realtek",
    )
    add("--ramdisk", type=Path, metavar="DIR", help="what rhubarbe-ramdisk build has made there")
    add("--new-ramdisk", action="store_true", help="make it anew, though there is one")
    add("--root", type=_path, default=Path("/"), metavar="DIR", help="the machine is below DIR")


def _address(text: str) -> ipaddress.IPv4Interface:
    if "/" not in text:
        raise argparse.ArgumentTypeError(f"expected an address and the length, found {text!r}")
    try:
        return ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _path(text: str) -> Path:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"expected a path from /, found {text!r}")
    return Path(text)


def run(arguments: argparse.Namespace) -> int:
    """Show, make or undo; return the exit code."""
    from rhubarbe.setup.machine import Machine
    from rhubarbe.setup.record import Record

    heed_termination()
    machine = Machine(arguments.root.resolve())
    if not machine.root.is_dir():
        raise GatewayError(f"--root {arguments.root}: no such directory")
    record = Record.read(machine)
    return _undo(arguments, record) if arguments.undo else _set_up(arguments, record)


def _set_up(arguments: argparse.Namespace, record: Record) -> int:
    from rhubarbe.setup import work
    from rhubarbe.setup.plan import by_hand, plan
    from rhubarbe.setup.site import decide

    machine, wishes = record.machine, _wishes(arguments)
    site = decide(wishes, machine, record)
    for line in site.found:
        print(f"found  {sanitise(line)}")
    steps = plan(site, wishes, machine)
    due = work.show(steps, record, print, full=arguments.dry_run)
    for line in by_hand(site, machine):
        print(f"note   {line}")
    if arguments.dry_run or not due:
        print(f"{due} of {len(steps)} steps to do" if due else "nothing to do: all is done")
        return 0
    _require_root("")
    print(flush=True)
    with record.held():
        work.make(steps, record, _tell)
    return 0


def _wishes(arguments: argparse.Namespace) -> Wishes:
    from rhubarbe.setup.site import Wishes

    return Wishes(
        interface=arguments.interface,
        address=arguments.address,
        dhcp=arguments.dhcp,
        tftp_root=arguments.tftp_root,
        inventory=arguments.inventory,
        group=arguments.group,
        users=arguments.user,
        ramdisk=arguments.ramdisk,
        kernel=arguments.kernel,
        firmware=arguments.firmware,
        wants_ramdisk_anew=arguments.new_ramdisk,
    )


def _undo(arguments: argparse.Namespace, record: Record) -> int:
    from rhubarbe.setup import work

    if not record.made:
        print("nothing to undo: rhubarbe-setup has made nothing here")
        return 0
    if arguments.dry_run:
        work.show_undo(record, print)
        return 0
    _require_root(" --undo")
    with record.held():
        return min(work.undo(record, _tell), 1)


def _require_root(option: str) -> None:
    if os.getuid() != 0:
        raise GatewayError(f"only root can do that: sudo rhubarbe-setup{option}; nothing was done")


def _tell(line: str) -> None:
    print(line, flush=True)
