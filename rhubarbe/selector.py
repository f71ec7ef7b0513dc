"""The selection language: `1-12 fit15-reboot18 ~4-6` is the nodes 1-3, 7-12 and 15-18.

Words are taken from left to right, each a comma-separated list of parts; a part adds a node (`3`,
`fit03`, `reboot03`), a range (`1-12`) or a range with a step (`1-10-2`), and `~` before it removes
instead. A part may also be the whole name of a node, whatever numbers are in it. Pure: no
environment, no inventory.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import compress, pairwise
from types import MappingProxyType

from rhubarbe.errors import SelectionError

# Testbeds have hundreds of nodes; more digits are a slip of the keyboard, and would eat the memory.
MOST_DIGITS = 5
# More than all the nodes of any testbed, one by one; each may be of all numbers that there are.
MOST_PARTS = 50_000
LONGEST_QUOTE = 60
_OUT, _IN = b"\0", b"\1"


def number_in(name: str, before: str) -> int | None:
    """Return the number of a node, or of its card, by its host name; None where there is none.

    It is what follows `before`, where the name begins so, else the last number of the name without
    its domain: 12 in `c6220-12.example.org`.
    """
    is_address = re.fullmatch(r"[0-9.]+", name)
    host = name if is_address else name.partition(".")[0]
    if before and (match := re.match(re.escape(before) + r"(\d+)", host)):
        return int(match[1])
    numbers = re.findall(r"\d+", host) or re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None


def select(
    words: Iterable[str],
    names: Iterable[str],
    start: Iterable[int] = (),
    nodes: Mapping[str, int] = MappingProxyType({}),
) -> list[int]:
    """Return the sorted node numbers that `words` select, on top of the numbers in `start`.

    `names` are the words that may stand before a number, such as `fit` and `reboot`; `nodes` has
    the numbers of nodes by their whole names. Raises SelectionError naming the first word that
    selects nothing.
    """
    prefix = "|".join(re.escape(name) for name in names)
    number = rf"(?:{prefix})?(\d{{1,{MOST_DIGITS}}})"
    shape = re.compile(rf"(~?){number}(?:-{number}(?:-(\d{{1,{MOST_DIGITS}}}))?)?")
    parts: list[tuple[bytes, range]] = []
    for word in words:
        for part in word.split(","):
            name = part.removeprefix("~")
            is_name = name in nodes and not name[0].isdecimal()  # `1-12` stays a range
            match = shape.fullmatch(f"{part[: -len(name)]}{nodes[name]}" if is_name else part)
            if match is None:
                raise SelectionError(
                    f"{_quoted(word, part)} selects no node; write 3, fit03, 1-12, 1-10-2 or '~4'"
                )
            parts.append((_OUT if match.group(1) else _IN, _range(part, *match.group(2, 3, 4))))
            if len(parts) > MOST_PARTS:
                raise SelectionError(f"more than {MOST_PARTS} parts of a selection: write ranges")
    # A byte a number: whatever the ranges, a part takes no longer than it takes to write that.
    starts = [range(number, number + 1) for number in start]
    size = max((numbers[-1] + 1 for numbers in (*starts, *(each for _, each in parts))), default=0)
    chosen = bytearray(size)
    for mark, numbers in (*((_IN, each) for each in starts), *parts):
        chosen[numbers.start : numbers.stop : numbers.step] = mark * len(numbers)
    return list(compress(range(size), chosen))


def _quoted(word: str, part: str) -> str:
    """Return a word in quotes; of a long one only the part that is meant, or how that begins."""
    text = word if len(word) <= LONGEST_QUOTE else part
    return repr(text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…")


def _range(part: str, first: str, last: str | None, step: str | None) -> range:
    low, high, stride = int(first), int(last or first), int(step or 1)
    if high < low:
        raise SelectionError(f"{part!r} is an empty range: write {high}-{low}")
    if stride < 1:
        raise SelectionError(f"{part!r} has a step of 0: the step is at least 1")
    return range(low, high + 1, stride)


def fold(numbers: Iterable[int]) -> str:
    """Return numbers in the selection language: {1, 2, 3, 7} is `1-3,7`; none is ``."""
    ordered = sorted(set(numbers))
    if not ordered:
        return ""
    starts = [ordered[0]] + [b for a, b in pairwise(ordered) if b != a + 1]
    ends = [a for a, b in pairwise(ordered) if b != a + 1] + [ordered[-1]]
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
