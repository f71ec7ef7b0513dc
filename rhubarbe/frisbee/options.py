"""Command lines as GNU getopt reads them: options and arguments in any order.

`argparse` would refuse what operators type (``-W500000000``, ``IMAGE -K 3``, ``-T -1``), and costs
more time to import than a client has.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import rhubarbe
from rhubarbe.frisbee.errors import NotOffered, UsageError


class Given:
    """The options of a command line, by letter or long name, and its arguments."""

    def __init__(self, options: list[tuple[str, str]], arguments: list[str]) -> None:
        self._values = dict(options)
        self._names = [name for name, _ in options]
        self.arguments = arguments

    def count(self, name: str) -> int:
        """How many times a flag was given."""
        return self._names.count(name)

    def has(self, name: str) -> bool:
        """Whether an option was given."""
        return name in self._values

    def text(self, name: str) -> str:
        """Return the last value of an option, or nothing."""
        return self._values.get(name, "")

    def number(self, name: str, default: int, lowest: int = 0, highest: int = 1 << 40) -> int:
        """Return the whole number given to an option; raise UsageError where it is none."""
        if name not in self._values:
            return default
        return number(name, self._values[name], lowest, highest)

    def address(self, name: str) -> str:
        """Return the IPv4 address given to an option, or nothing; raise UsageError if wrong."""
        text = self._values.get(name, "")
        if text and not _is_address(text):
            raise UsageError(f"option -{name}: '{text}' is not an IPv4 address")
        return text


def _is_address(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdecimal() and int(part) < 256 for part in parts)  # noqa: PLR2004


def number(letter: str, text: str, lowest: int, highest: int) -> int:
    """Return the whole number that is the value of an option; raise UsageError where it is none."""
    try:
        value = int(text, 0)
    except ValueError:
        value = lowest - 1
    if not lowest <= value <= highest:
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
    refused = refused or {}
    options: list[tuple[str, str]] = []
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            arguments.extend(rest)
        elif word.startswith("--"):
            options.append(_long(word[2:], rest, long_flags, long_valued))
        elif word.startswith("-") and word != "-":
            options.extend(_letters(word[1:], rest, flags, valued, refused))
        else:
            arguments.append(word)
    return Given(options, arguments)


def _long(
    word: str, rest: Iterator[str], flags: Collection[str], valued: Collection[str]
) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if name in flags and not sign:
        return name, ""
    if name not in valued:
        raise UsageError(f"unrecognized option '--{word}'")
    if not sign:
        value = next(rest, "")
    if not value:
        raise UsageError(f"option requires an argument -- '{name}'")
    return name, value


def _letters(
    word: str, rest: Iterator[str], flags: str, valued: str, refused: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    while word:
        letter, word = word[0], word[1:]
        if letter in flags:
            yield letter, ""
        elif letter in valued:
            value = word or next(rest, None)
            if value is None:
                raise UsageError(f"option requires an argument -- '{letter}'")
            yield letter, value
            return
        elif letter in refused:
            raise NotOffered(f"option -{letter}: {refused[letter]}")
        else:
            raise UsageError(f"invalid option -- '{letter}'")


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
            version = (Path(rhubarbe.__file__).parent / "VERSION").read_text(encoding="ascii")
            lines = [f"{program} {version.strip()}", takes()]
            return "".join(f"{line}\n" for line in lines if line)
        case _:
            return None
