"""Text measured in columns of a terminal: cutting, padding, bars, and one node in a given room."""

import unicodedata
from itertools import accumulate

from rhubarbe.displays.tally import NodeRecord, NodeState
from rhubarbe.events import Phase

SIGNS = {NodeState.FAILED: "x", NodeState.BUSY: ">", NodeState.WAITING: ".", NodeState.DONE: "+"}
"""The sign of each state, so that no state is told by its colour alone."""

_WORD = 7  # columns of the longest phase or state: ramdisk, waiting
_PERCENT = 5  # columns of " 100%"
_BARS = (12, 42)  # a node's narrowest and widest bar, brackets included
_WORDS_FIRST = 24  # columns that a node's last words get before its bar grows
_WORDS_LEAST = 12  # with fewer columns left, the last words are not shown

NARROWEST = len("x ") + len(" ") + _WORD
"""Columns that a node takes besides its name when it has the least room."""


def columns(text: str) -> int:
    """Measure `text`: East Asian letters take two columns, combining ones none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def clip(text: str, width: int) -> str:
    """Cut `text` to at most `width` columns; an ellipsis tells that something is missing."""
    if columns(text) <= width:
        return text
    if width <= 0:
        return ""
    ends = accumulate(map(_columns, text))
    return text[: sum(1 for end in ends if end < width)] + "…"


def fit(text: str, width: int) -> str:
    """Cut or pad `text` to exactly `width` columns."""
    text = clip(text, width)
    return text + " " * (width - columns(text))


def bar(percent: float, width: int) -> str:
    """Draw `[####....]`, `width` columns wide; full only at 100 %, nothing below three columns."""
    inside = width - 2
    if inside <= 0:
        return ""
    done = int(inside * percent / 100)
    return f"[{'#' * done}{'.' * (inside - done)}]"


def node(record: NodeRecord, width: int, name: int, *, bars: bool) -> str:
    """Draw one node in exactly `width` columns, its name in `name` of them.

    The more room, the more is shown: sign, name and phase; percentage; bar; the node's last words.
    Without `bars` there is neither percentage nor bar; of a node that has none yet, or that failed,
    the last words are in their place.
    """
    text = f"{SIGNS[record.state]} {fit(record.name, name)} "
    room = width - columns(text) - _WORD
    if bars and room < _PERCENT:
        return fit(text + _least(record), width)
    text += fit(_word(record), _WORD)
    if bars and record.percent is not None and record.state is not NodeState.FAILED:
        text += _gauge(record.percent, room)
    if width - columns(text) - 2 >= _WORDS_LEAST:
        text += f"  {record.last_word}"
    return fit(text, width)


def _least(record: NodeRecord) -> str:
    if record.phase == Phase.IMAGE and not record.over and record.percent is not None:
        return f"{int(record.percent):>{_WORD - 1}}%"
    return _word(record)


def _word(record: NodeRecord) -> str:
    if record.state is NodeState.FAILED:
        return "FAILED"
    return record.phase if record.state is NodeState.BUSY and record.phase else record.state


def _gauge(percent: float, room: int) -> str:
    length = _bar_length(room - _PERCENT - 1)
    drawn = f" {bar(percent, length)}" if length else ""
    return f"{drawn}{int(percent):4}%"


def _bar_length(room: int) -> int:
    narrow, wide = _BARS
    if room < narrow:
        return 0
    if room < narrow + _WORDS_LEAST + 2:
        return room
    return min(wide, max(narrow, room - _WORDS_FIRST - 2))


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
