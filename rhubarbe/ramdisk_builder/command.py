"""`rhubarbe-ramdisk`: make what a testbed's machines boot from the network, and a system to try."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rhubarbe.annexe.errors import AnnexeError, Misused
from rhubarbe.parser import Parser
from rhubarbe.ramdisk_builder.efi import LOADERS
from rhubarbe.ramdisk_builder.keys import read_keys
from rhubarbe.ramdisk_builder.packages import Packages
from rhubarbe.text import sanitise
from rhubarbe.version import version

NAME = "rhubarbe-ramdisk"
SIZE_LEAST, SIZE_MOST = 16, 1 << 20  # MiB
EPILOG = """\
examples:
  rhubarbe-ramdisk build --output /tftpboot
  rhubarbe-ramdisk build --output /tftpboot --arch arm64
  rhubarbe-ramdisk build --kernel full --ssh-key ~/.ssh/id_ed25519.pub --with /usr/local/bin/frisbee
  rhubarbe-ramdisk system --output sample.img --ssh-key ~/.ssh/id_ed25519.pub
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0, or 1 or 2 when nothing was made."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    try:
        arguments.run(arguments)
    except AnnexeError as error:
        print(f"{NAME}: {sanitise(str(error))}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{NAME}: {sanitise(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{NAME}: interrupted", file=sys.stderr)
        return 1
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    """Leave by the same way as an interrupt does, which removes what is unfinished."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=NAME,
        description="Make the ramdisk that nodes boot to be loaded, or a small system for a disk,\n"
        "from Debian packages; no root is needed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    verbs = parser.add_subparsers(metavar="build|system", required=True)
    _add_build(verbs.add_parser("build", help="make vmlinuz, initrd and what boots them"))
    _add_system(verbs.add_parser("system", help="make a bootable disk with a small system"))
    return parser


def _add_common(parser: argparse.ArgumentParser, output: str) -> None:
    add = parser.add_argument
    add("--output", type=Path, default=Path(output), help="where it goes (default: %(default)s)")
    add("--ssh-key", type=Path, metavar="FILE", help="public keys that root may log in with")
    add("--cache", type=Path, metavar="DIR", help="keeps packages (default: in ~/.cache)")
    add("--update", action="store_true", help="ask first which packages there are today")
    add(
        "--kernel",
        default="cloud",
        metavar="cloud|full|PACKAGE",
        help="for virtual machines (default), for real ones, or of a package",
    )


def _add_build(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, ".")
    add = parser.add_argument
    add(
        "--with",
        dest="extras",
        action="append",
        default=[],
        metavar="PROGRAM",
        help="a program of this machine's or of the packages', with its libraries",
    )
    add(
        "--with-firmware",
        dest="firmware",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="what cards of these machines want, such as firmware-realtek",
    )
    add(
        "--arch",
        choices=sorted(LOADERS),
        default="",
        help="the machines' processor, if it is not this one's",
    )
    add("--no-telnet", action="store_true", help="ssh only, with the --ssh-key")
    parser.set_defaults(run=_build)


def _build(arguments: argparse.Namespace) -> None:
    from rhubarbe.ramdisk_builder.ramdisk import RamdiskRecipe, build

    if arguments.no_telnet and not arguments.ssh_key:
        raise Misused("--no-telnet without --ssh-key: nobody could get in")
    keys = read_keys(arguments.ssh_key) if arguments.ssh_key else []
    recipe = RamdiskRecipe(
        kernel=arguments.kernel,
        extras=arguments.extras,
        firmware=arguments.firmware,
        keys=keys,
        has_telnet=not arguments.no_telnet,
        architecture=arguments.arch,
    )
    place = build(recipe, _packages(arguments), arguments.output, _tell)
    _say_sizes(place, ("vmlinuz", "initrd"))


def _add_system(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, "sample.img")
    add = parser.add_argument
    add("--size", type=_mebibytes, default=0, metavar="MIB", help="of the disk (64, or 512)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--minimal", action="store_true", help="busybox and Dropbear (the default)")
    kind.add_argument("--debian", action="store_true", help="systemd and OpenSSH, by mmdebstrap")
    parser.set_defaults(run=_system)


def _mebibytes(text: str) -> int:
    if not SIZE_LEAST <= (number := int(text)) <= SIZE_MOST:
        raise argparse.ArgumentTypeError(f"{text} is not between {SIZE_LEAST} and {SIZE_MOST}")
    return number


def _system(arguments: argparse.Namespace) -> None:
    from rhubarbe.ramdisk_builder.system import SystemRecipe, build

    if not arguments.ssh_key:
        raise Misused("--ssh-key is missing: nobody could get in")
    keys = read_keys(arguments.ssh_key)
    recipe = SystemRecipe(
        keys=keys, size=arguments.size, kernel=arguments.kernel, is_debian=arguments.debian
    )
    build(recipe, _packages(arguments), arguments.output)
    _say_sizes(arguments.output.parent, [arguments.output.name])


def _packages(arguments: argparse.Namespace) -> "Packages":
    from rhubarbe.ramdisk_builder.packages import Packages, default_cache

    packages = Packages(arguments.cache or default_cache())
    if arguments.update:
        packages.update()
    return packages


def _tell(text: str) -> None:
    print(f"{NAME}: {sanitise(text)}", file=sys.stderr)


def _say_sizes(directory: Path, names: Sequence[str]) -> None:
    for name in names:
        path = directory / name
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
