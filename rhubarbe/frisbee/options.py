"""Command lines as GNU getopt reads them: options and arguments in any order.

`argparse` would refuse what operators type (``-W500000000``, ``IMAGE -K 3``, ``-T -1``), and costs
more time to import than a client has.
"""

from collections.abc import Iterator, Mapping

from rhubarbe.frisbee.errors import UsageError


def parse(
    words: list[str], flags: str, valued: str, long_flags: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Split ``words`` into options and arguments.

    ``flags`` and ``valued`` are the letters of options without and with a value; ``long_flags``
    gives each long option, which takes no value, its own name or that of a letter. Return
    (letter or name, value) pairs in order, and the arguments.

    Raises:
        UsageError: unknown option, or a value is missing.

    """
    options: list[tuple[str, str]] = []
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            arguments.extend(rest)
        elif word.startswith("--"):
            if word[2:] not in long_flags:
                raise UsageError(f"unrecognized option '{word}'")
            options.append((long_flags[word[2:]], ""))
        elif word.startswith("-") and word != "-":
            options.extend(_letters(word[1:], rest, flags, valued))
        else:
            arguments.append(word)
    return options, arguments


def _letters(word: str, rest: Iterator[str], flags: str, valued: str) -> Iterator[tuple[str, str]]:
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
        else:
            raise UsageError(f"invalid option -- '{letter}'")


def number(letter: str, text: str, lowest: float = 0, highest: float = 1 << 40) -> int:
    """Return the whole number given to an option.

    Raises:
        UsageError: it is none, or out of range.

    """
    try:
        value = int(text, 0)
    except ValueError:
        value = None
    if value is None or not lowest <= value <= highest:
        raise UsageError(f"option -{letter}: '{text}' is not a number from {lowest} to {highest}")
    return value


def address(letter: str, text: str) -> str:
    """Return the IPv4 address given to an option.

    Raises:
        UsageError: it is none.

    """
    parts = text.split(".")
    if len(parts) == 4 and all(part.isdecimal() and int(part) < 256 for part in parts):  # noqa: PLR2004
        return text
    raise UsageError(f"option -{letter}: '{text}' is not an IPv4 address")
