"""What the programs of this room share: options, one-line errors, signals."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from rhubarbe.annexe.options import BadOption, Given, Reader, RefusedOption, Wording, whole_number
from rhubarbe.disk.errors import DiskError
from rhubarbe.imaging.errors import NotOffered, UsageError
from rhubarbe.imaging.telling import tell
from rhubarbe.ndz.errors import NdzError
from rhubarbe.text import sanitise
from rhubarbe.version import version

_WORDING = Wording(
    unknown="option -{name} not recognized",
    unknown_long="option --{name} not recognized",
    lacks="option -{name} requires argument",
    lacks_long="option --{name} requires argument",
    flag_with_value="option --{name} must not have an argument",
    ambiguous="option --{name} not a unique prefix",
)

_HIGHEST = 1 << 62

CIPHER = "images are not encrypted: the cipher (Blowfish) is obsolete"
"""Why no program takes what the original says of encryption."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `short` without its dash ('' for none), `value` names its argument, if any."""

    short: str
    long: str
    help: str
    value: str = ""


class CommandLine(Given):
    """A parsed command line: the values of each option by its long name, and the arguments."""

    def number(self, name: str, default: int, low: int = 0, high: int = _HIGHEST) -> int:
        """Return the option's value as an integer; raise UsageError where it is none in range."""
        if not self.has(name):
            return default
        number = whole_number(self.text(name))
        if number is None:
            raise UsageError(f"--{name}: {self.text(name)!r} is not a number")
        if not low <= number <= high:
            bounds = f"between {low} and {high}" if high < _HIGHEST else f"at least {low}"
            raise UsageError(f"--{name}: {number} is not {bounds}")
        return number


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its name, its usage line and one line of what it is for, and its options.

    `refused` says of other letters, which the original has, why they are not taken.
    `takes` is what `--version` says on a second line, for programs that ask: what it understands.
    """

    name: str
    usage: str
    purpose: str
    options: Sequence[Option]
    epilogue: str = ""
    takes: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    def parse(self, argv: list[str]) -> CommandLine:
        """Read the options as getopt does; raise UsageError, and NotOffered for those refused."""
        letters = {each.short: bool(each.value) for each in self.options if each.short}
        names = {each.long: bool(each.value) for each in self.options}
        long = {each.short: each.long for each in self.options if each.short}
        try:
            pairs, arguments = Reader(letters, names, _WORDING, self.refused).read(argv)
        except RefusedOption as error:
            raise NotOffered(str(error)) from None
        except BadOption as error:
            raise UsageError(str(error)) from None
        return CommandLine([(long.get(name, name), value) for name, value in pairs], arguments)

    def help(self) -> str:
        """Return the whole help text."""
        called = self._called()
        lines = [f"usage: {called} {self.usage}", self.purpose, ""]
        for option in self.options:
            short = f"-{option.short}, " if option.short else "    "
            flag = f"  {short}--{option.long}" + (f" {option.value}" if option.value else "")
            lines.append(f"{flag:<32}{option.help}")
        example = self.epilogue.replace(f"example: {self.name} ", f"example: {called} ")
        return "\n".join([*lines, *(["", example] if example else [])])

    def _called(self) -> str:
        """Return the name that it was called by: in the ramdisk it has no `rhubarbe-`."""
        name = sys.argv[0].rpartition("/")[2]
        return name if name == f"rhubarbe-{self.name}" else self.name

    def run(self, argv: list[str] | None, work: Callable[[CommandLine], int]) -> int:
        """Parse, answer --help and --version, do the work; return the exit status.

        SIGINT and SIGTERM end the work at once: it cleans up, and the process dies of the signal.
        """
        previous = {number: _catch(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return self._run(sys.argv[1:] if argv is None else argv, work)
        except Interrupted as interrupt:
            signal.signal(interrupt.number, signal.SIG_DFL)
            os.kill(os.getpid(), interrupt.number)
            return 128 + interrupt.number
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _run(self, argv: list[str], work: Callable[[CommandLine], int]) -> int:
        try:
            line = self.parse(argv)
            if line.has("help"):
                print(self.help())
                return 0
            if line.has("version"):
                print(f"rhubarbe-{self.name} {version()}")
                if self.takes:
                    print(self.takes)
                return 0
            return work(line)
        except UsageError as error:
            say(f"{self.name}: {error}")
            say(f"usage: {self._called()} {self.usage}; --help says more")
        except (DiskError, NdzError) as error:
            say(f"{self.name}: {error}")
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            say(f"{self.name}: {where}{error.strerror or error}")
        return 1


class Interrupted(BaseException):
    """A signal asks the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _catch(number: int) -> "signal._HANDLER":
    def interrupt(received: int, _frame: FrameType | None) -> None:
        raise Interrupted(received)

    try:
        return signal.signal(number, interrupt)
    except ValueError:  # not the main thread: the program that runs it minds the signals
        return signal.SIG_DFL


def say(text: str) -> None:
    """Print one line on the standard error, at once; names of files may be in it."""
    tell(sanitise(text) + "\n")
