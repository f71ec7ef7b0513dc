"""The options of server and client, in the words of the original programs."""

import ipaddress
from collections.abc import Callable, Collection, Mapping

from rhubarbe.annexe import options
from rhubarbe.frisbee.errors import NotOffered, UsageError
from rhubarbe.text import sanitise
from rhubarbe.version import version

INT_MAX = (1 << 31) - 1
"""The largest number where no other one is said: what the kernel takes as a size or a time."""

_WORDING = options.Wording(
    unknown="invalid option -- '{name}'",
    unknown_long="unrecognized option '--{word}'",
    lacks="option requires an argument -- '{name}'",
    lacks_long="option requires an argument -- '{name}'",
    flag_with_value="unrecognized option '--{word}'",
    ambiguous="unrecognized option '--{word}'",
)


class Given(options.Given):
    """The options of a command line, by letter or long name, and its arguments."""

    def number(self, name: str, default: int, lowest: int = 0, highest: int = INT_MAX) -> int:
        """Return the whole number given to an option; raise UsageError where it is none."""
        if not self.has(name):
            return default
        return number(name, self.text(name), lowest, highest)

    def address(self, name: str) -> str:
        """Return the IPv4 address given to an option, or nothing; raise UsageError if wrong."""
        text = self.text(name)
        if text and not _is_address(text):
            raise UsageError(f"option -{name}: '{text}' is not an IPv4 address")
        return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def number(letter: str, text: str, lowest: int, highest: int) -> int:
    """Return the whole number that is the value of an option; raise UsageError where it is none."""
    value = options.whole_number(text)
    if value is None or not lowest <= value <= highest:
        raise UsageError(f"option -{letter}: '{text}' is not a number from {lowest} to {highest}")
    return value


def parse(
    words: list[str],
    flags: str,
    valued: str,
    long_flags: Collection[str] = (),
    long_valued: Collection[str] = (),
    refused: Mapping[str, str] | None = None,
) -> Given:
    """Split ``words`` into options and arguments.

    ``flags`` and ``valued`` are the letters of options without and with a value, ``long_flags`` and
    ``long_valued`` the long options likewise; ``refused`` says of other letters why not.

    Raises:
        UsageError: unknown option, or a value is missing.
        NotOffered: one of those ``refused``.

    """
    letters = dict.fromkeys(flags, False) | dict.fromkeys(valued, True)
    names = dict.fromkeys(long_flags, False) | dict.fromkeys(long_valued, True)
    reader = options.Reader(letters, names, _WORDING, refused or {})
    try:
        given = Given(*reader.read(words))
    except options.RefusedOption as error:
        raise NotOffered(str(error)) from None
    except options.BadOption as error:
        raise UsageError(str(error)) from None
    for name in long_valued:  # a manifest of no name must not pass for none that is wanted
        if "" in given.values.get(name, ()):
            raise UsageError(_WORDING.lacks_long.format(name=name))
    return given


def correction(error: UsageError, program: str, usage: str) -> str:
    """Return what a command line that is wrong is answered with: how it is used, then the error.

    No more than its synopsis, and the error last, where it is looked for, also by whoever has a
    node run it; without an error's words (``-h``), all.
    """
    if not error.args:
        return usage
    synopsis = usage.partition("\n\n")[0]
    return f"{synopsis}\nMore: {program} --help\n{program}: {sanitise(str(error))}\n"


def explanation(
    words: list[str], program: str, usage: str, takes: Callable[[], str] = str
) -> str | None:
    """Return what ``--help`` or ``--version`` asks for, if one is the first word; else None.

    ``takes`` returns what a second line of the version says of what the program understands.
    """
    match words[:1]:
        case ["--help"]:
            return usage
        case ["--version"]:
            lines = [f"{program} {version()}", takes()]
            return "".join(f"{line}\n" for line in lines if line)
        case _:
            return None
