"""The command line of `rhubarbe-testbed`: its options, and the testbed that they ask for."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhubarbe.annexe.errors import Misused
from rhubarbe.parser import Parser
from rhubarbe.testbed import controls, drives, faults, firmware
from rhubarbe.version import version

if TYPE_CHECKING:  # --help, of which the manual pages are made, needs no library
    from rhubarbe.testbed.farm import MachineKind
    from rhubarbe.testbed.site import Plan

NAME = "rhubarbe-testbed"
NUMBER = "[0-9]{1,5}"  # of a node
EPILOG = """\
faults, as --fault fit03:NAME, or fit03:NAME*1 for the first time only:
{faults}

kinds of disks: {kinds};
options of a disk: serial=S, sector=4096, and meant, for that of several disks which images are
written to and which is booted (else the first)

examples:
  rhubarbe-testbed --nodes 12 --directory /tmp/testbed
  rhubarbe-testbed --nodes 12 -- rhubarbe-load -i sample -a
  rhubarbe-testbed --node-numbers 1-10,41 --card fit41:15 --fault fit03:card-lies*1 -- bash
  rhubarbe-testbed --machines 3 --firmware bios,uefi,secureboot -- bash
  rhubarbe-testbed --machines 3 --disk nvme --disk fit02:virtio --disk fit02:nvme:2G,meant -- bash
"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the options; ends the program where they make no sense."""
    parser = _parser()
    machines = _add_machines(parser)
    arguments = parser.parse_args(words)
    given = [each for each in machines if getattr(arguments, each.dest) != each.default]
    if given and not arguments.machines:
        names = ", ".join(each.option_strings[0] for each in given)
        parser.error(f"only with --machines: {names}")
    return arguments


def _parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {name:14} {what}" for name, what in faults.KNOWN.items())
    parser = Parser(
        prog=NAME,
        usage="%(prog)s [options] [-- COMMAND ARGS...]",
        description="Run an emulated testbed: power cards, nodes that boot, disks.\n\n"
        "With a COMMAND, for as long as it runs, with RHUBARBE_CONF set for it; the exit status\n"
        "is the command's.",
        epilog=EPILOG.format(faults=known, kinds=", ".join(drives.KINDS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group().add_argument
    which("--nodes", type=_positive, metavar="N", help="nodes 1 to N (default 12)")
    which("--hosts", type=_positive, metavar="N", help="hosts with real daemons instead")
    which("--machines", type=_positive, metavar="N", help="QEMU machines that boot by PXE instead")
    add("--node-numbers", metavar="1-10,41", help="these nodes instead")
    add("--directory", type=Path, help="where it lives; needed without a COMMAND")
    add("--card", action="append", default=[], metavar="fit41:15", help="number a card bears")
    add("--fault", action="append", default=[], metavar="NODE:NAME[*TIMES]", help="see below")
    add(
        "--power",
        default="cmc",
        metavar="KIND[,KIND...]",
        help="power controls, which the nodes have in turn: " + ", ".join(controls.KINDS),
    )
    add(
        "--netboot",
        choices=("redfish",),
        default="",
        help="nodes of this --power boot from the network when it tells them to, not always",
    )
    add("--boot-time", type=float, default=1.0, metavar="S", help="seconds of a boot (%(default)s)")
    add(
        "--slow-boot",
        type=float,
        default=40.0,
        metavar="X",
        help="a slow one: X times (%(default)s)",
    )
    add("--sample-size", type=_positive, default=24, metavar="MIB", help="content (%(default)s)")
    add(
        "--ramdisk-shell",
        choices=("telnet", "ssh"),
        default="telnet",
        help="how the ramdisk offers its shell (%(default)s)",
    )
    add("--image", type=Path, metavar="FILE", help="the sample image, instead of making it")
    add("--version", action="version", version=f"%(prog)s {version()}")
    return parser


def _add_machines(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Add, and return, the options that only machines have."""
    group, added = parser.add_argument_group("with --machines"), []

    def of_machines(*words: str, **meaning: Any) -> None:
        added.append(group.add_argument(*words, **meaning))

    of_machines("--debian", action="store_true", help="a real Debian as the sample, with systemd")
    of_machines(
        "--keep-disks", action="store_true", help="copy disks when machines are switched on"
    )
    of_machines(
        "--ramdisk",
        type=Path,
        metavar="DIR",
        help="what they boot to be loaded, by rhubarbe-ramdisk build --output DIR",
    )
    of_machines(
        "--no-boot-server",
        action="store_true",
        help="serve no DHCP and TFTP: you do, on the gateway, as a rehearsal of yours",
    )
    of_machines(
        "--disk",
        action="append",
        default=[],
        metavar="[NODE:]KIND[:SIZE][,OPTION]",
        help="a disk, perhaps one of several; of a kind below (virtio); see the examples",
    )
    of_machines(
        "--memory",
        type=_positive,
        default=0,
        metavar="MIB",
        help="of each (256, or what is enough)",
    )
    of_machines(
        "--firmware",
        default=firmware.BIOS,
        metavar="|".join(firmware.KINDS),
        help="what they boot by; several, parted by commas, in turn (%(default)s)",
    )
    of_machines("--cache", type=Path, metavar="DIR", help="what is built (default: in ~/.cache)")
    return added


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def plan(arguments: argparse.Namespace, directory: Path) -> "Plan":
    """Read the words; raises Misused for those that mean nothing."""
    from rhubarbe.testbed.site import Plan  # with all that serves: not for --help

    count = arguments.nodes or arguments.hosts or arguments.machines or 12
    numbers = _numbers(arguments.node_numbers or f"1-{count}")
    return Plan(
        directory=directory,
        numbers=numbers,
        cards=dict(_card(word) for word in arguments.card),
        faults=[faults.parse(word) for word in arguments.fault],
        boot_time=arguments.boot_time,
        slow_boot=arguments.slow_boot,
        sample_mib=arguments.sample_size,
        ramdisk_shell=arguments.ramdisk_shell,
        image=arguments.image,
        power=controls.parse(arguments.power),
        netboot=arguments.netboot,
    )


def kind(arguments: argparse.Namespace) -> "MachineKind":
    """Return which machines they are; raises Misused."""
    if arguments.hosts:
        from rhubarbe.testbed.hosts import Hosts

        return Hosts()
    if arguments.machines:
        from rhubarbe.testbed.qemu_machines import QemuMachines

        cache = {"cache": arguments.cache} if arguments.cache else {}
        return QemuMachines(
            debian=arguments.debian,
            keep_disks=arguments.keep_disks,
            memory_mib=arguments.memory,
            ramdisk=arguments.ramdisk,
            boots_them=not arguments.no_boot_server,
            wishes=[drives.parse(word) for word in arguments.disk],
            firmwares=firmware.parse(arguments.firmware),
            **cache,
        )
    from rhubarbe.testbed.emulated import Emulated

    return Emulated()


def _numbers(text: str) -> list[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(rf"({NUMBER})(?:-({NUMBER}))?", part)
        if match is None:
            raise Misused(f"node numbers {text[:40]!r} are not of the form 1-10,41")
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(numbers)


def _card(word: str) -> tuple[int, int]:
    match = re.fullmatch(rf"(?:fit)?({NUMBER}):({NUMBER})", word)
    if match is None:
        raise Misused(f"card {word[:40]!r} is not of the form fit41:15")
    return int(match[1]), int(match[2])
