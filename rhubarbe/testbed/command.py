"""`rhubarbe-testbed`: run an emulated testbed, alone or for the length of one command."""

import argparse
import asyncio
import os
import re
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.annexe.errors import AnnexeError, Misused
from rhubarbe.parser import Parser
from rhubarbe.testbed import controls, drives, faults, firmware
from rhubarbe.text import sanitise
from rhubarbe.version import version

if TYPE_CHECKING:  # --help, of which the manual pages are made, needs no library
    from rhubarbe.testbed.farm import MachineKind
    from rhubarbe.testbed.site import Plan

NAME = "rhubarbe-testbed"
NUMBER = "[0-9]{1,5}"  # of a node
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is the command's, or 0, or 1 or 2 when the testbed fails."""
    ours, command = _split(list(sys.argv[1:] if argv is None else argv))
    parser = _parser()
    arguments = parser.parse_args(ours)
    if not arguments.machines and (options := _of_machines(parser, arguments)):
        parser.error(f"only with --machines: {', '.join(options)}")
    _many_descriptors()
    _watch_children_without_threads()
    try:
        with _directory(arguments.directory, command) as directory:
            return asyncio.run(_serve(_plan(arguments, directory), arguments, command))
    except AnnexeError as error:
        print(f"{NAME}: {sanitise(str(error))}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{NAME}: {sanitise(str(error))}", file=sys.stderr)
        return 1
    except ExceptionGroup as errors:  # of several machines, all of which say the same
        print(f"{NAME}: {sanitise(str(_one_of_the_system_s(errors)))}", file=sys.stderr)
        return 1


def _one_of_the_system_s(errors: ExceptionGroup) -> Exception:
    """Return one of errors that are all the system's, as what it lacks; else raise them."""
    if errors.split(OSError)[1] is not None:
        raise errors
    error: Exception = errors
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Our own words, and those of the command after `--`."""
    if "--" not in words:
        return words, []
    where = words.index("--")
    return words[:where], words[where + 1 :]


def _parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {name:14} {what}" for name, what in faults.KNOWN.items())
    parser = Parser(
        prog=NAME,
        usage="%(prog)s [options] [-- COMMAND ARGS...]",
        description="Run an emulated testbed: power cards, nodes that boot, disks. With a COMMAND, "
        "for as long as it runs, with RHUBARBE_CONF set for it; the exit status is the command's.",
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
    of_machines = parser.add_argument_group("with --machines").add_argument
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
    add("--version", action="version", version=f"%(prog)s {version()}")
    return parser


def _of_machines(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """Return the options given that only machines have."""
    names = (
        "debian",
        "keep_disks",
        "ramdisk",
        "no_boot_server",
        "disk",
        "memory",
        "firmware",
        "cache",
    )
    given = [name for name in names if getattr(arguments, name) != parser.get_default(name)]
    return [f"--{name.replace('_', '-')}" for name in given]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _plan(arguments: argparse.Namespace, directory: Path) -> "Plan":
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


@contextmanager
def _directory(given: Path | None, command: list[str]) -> Iterator[Path]:
    if given is not None:
        yield given
    elif command:
        with tempfile.TemporaryDirectory(prefix="rhubarbe-testbed-") as name:
            yield Path(name)
    else:
        raise Misused("name a --directory, or a command after --")


def _many_descriptors() -> None:
    """Allow ourselves all the descriptors that we may have: each node takes a few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _watch_children_without_threads() -> None:
    if sys.version_info < (3, 12):  # later versions do so by themselves
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())


def _kind(arguments: argparse.Namespace) -> "MachineKind":
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


async def _serve(plan: "Plan", arguments: argparse.Namespace, command: list[str]) -> int:
    """Serve until a signal, or for as long as the command runs."""
    from rhubarbe.testbed.farm import Farm

    signals = _Signals()
    try:
        async with Farm(plan, _kind(arguments)) as farm:
            if command:
                return await _run(command, farm.directory, signals)
            signals.interrupts = False
            print(
                f"{NAME}: {len(plan.numbers)} {farm.kind.noun} serve in {farm.directory}",
                flush=True,
            )
            await signals.came.wait()
            return 0
    except asyncio.CancelledError:
        return 1 if command else 0


class _Signals:
    """What a signal does: it ends the start, later the testbed, or goes to the command."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.interrupts = True
        self._task = asyncio.current_task()
        self._child: asyncio.subprocess.Process | None = None
        self._kept: list[signal.Signals] = []
        for number in ENDS:
            asyncio.get_running_loop().add_signal_handler(number, self._receive, number)

    def send_to(self, child: asyncio.subprocess.Process) -> None:
        """Send to the command what came since it was about to start, and what comes."""
        self._child = child
        for number in self._kept:
            self._pass_on(number)

    def _receive(self, number: signal.Signals) -> None:
        self.came.set()
        if self.interrupts and self._task is not None:
            self.interrupts = False  # the way out is not interrupted again
            self._task.cancel()
        elif self._child is None:
            self._kept.append(number)
        else:
            self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        if self._child is not None and number is not signal.SIGINT:  # the terminal sends it to both
            with suppress(ProcessLookupError):
                self._child.send_signal(number)


async def _run(command: list[str], directory: Path, signals: _Signals) -> int:
    """Run the command in the terminal's foreground; ^C is its own business, and so is its end."""
    binaries = str(Path(sys.executable).parent)
    environment = os.environ | {
        "RHUBARBE_CONF": str(directory / "rhubarbe.conf"),
        "PATH": f"{binaries}:{os.environ.get('PATH', os.defpath)}",
    }
    signals.interrupts = False
    try:
        child = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as error:
        print(f"{NAME}: cannot run {sanitise(command[0])}: {error.strerror}", file=sys.stderr)
        return 127
    signals.send_to(child)
    status = await child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
