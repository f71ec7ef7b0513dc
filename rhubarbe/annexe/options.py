"""Command lines as GNU getopt reads them: options and arguments in any order.

`argparse` would refuse what operators type (``-W500000000``, ``IMAGE -K 3``, ``-T -1``), and costs
more time to import than a program on a node has.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


class BadOption(Exception):
    """An option that there is not, or not in this way."""


class RefusedOption(BadOption):
    """An option that others have, and this program has not; the message says why."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How a program says what is wrong with an option, by its `name`; `word` is all of it."""

    unknown: str
    unknown_long: str
    lacks: str
    lacks_long: str
    flag_with_value: str
    ambiguous: str


class Given:
    """The options of a command line, (name, value) in order, and its arguments."""

    def __init__(self, pairs: Iterable[tuple[str, str]], arguments: list[str]) -> None:
        self.values: dict[str, list[str]] = {}
        self.arguments = arguments
        for name, value in pairs:
            self.values.setdefault(name, []).append(value)

    def has(self, name: str) -> bool:
        """Whether an option was given."""
        return name in self.values

    def count(self, name: str) -> int:
        """How many times it was given."""
        return len(self.values.get(name, ()))

    def text(self, name: str, default: str = "") -> str:
        """Return its value, the last one given."""
        return self.values.get(name, [default])[-1]


def whole_number(text: str) -> int | None:
    """Return the number that a value says, as in C: 0x10 is 16; None where it is none."""
    try:
        return int(text, 0)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Reader:
    """What options there are: by letter and by long name, whether they have a value.

    `refused` says of other letters why not.
    """

    letters: Mapping[str, bool]
    names: Mapping[str, bool]
    wording: Wording
    refused: Mapping[str, str] = field(default_factory=dict)

    def read(self, words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
        """Split words into options, each with its value or nothing, and arguments.

        Raises BadOption.
        """
        options: list[tuple[str, str]] = []
        arguments: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                arguments.extend(rest)
            elif word.startswith("--"):
                options.append(self._long(word[2:], rest))
            elif word.startswith("-") and word != "-":
                options.extend(self._letters(word[1:], rest))
            else:
                arguments.append(word)
        return options, arguments

    def _long(self, word: str, rest: Iterator[str]) -> tuple[str, str]:
        typed, sign, value = word.partition("=")
        meant = [typed] if typed in self.names else [n for n in self.names if n.startswith(typed)]
        if not meant:
            raise BadOption(self.wording.unknown_long.format(name=typed, word=word))
        if len(meant) > 1:
            raise BadOption(self.wording.ambiguous.format(name=typed, word=word))
        (name,) = meant
        if not self.names[name]:
            if sign:
                raise BadOption(self.wording.flag_with_value.format(name=name, word=word))
            return name, ""
        found = value if sign else next(rest, None)
        if found is None:
            raise BadOption(self.wording.lacks_long.format(name=name, word=word))
        return name, found

    def _letters(self, word: str, rest: Iterator[str]) -> Iterator[tuple[str, str]]:
        while word:
            letter, word = word[0], word[1:]
            if letter in self.refused and letter not in self.letters:
                raise RefusedOption(f"option -{letter}: {self.refused[letter]}")
            if letter not in self.letters:
                raise BadOption(self.wording.unknown.format(name=letter))
            if not self.letters[letter]:
                yield letter, ""
                continue
            value = word or next(rest, None)
            if value is None:
                raise BadOption(self.wording.lacks.format(name=letter))
            yield letter, value
            return
