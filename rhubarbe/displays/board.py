"""Which row shows what: the curses view without a terminal.

From top to bottom: title and elapsed time, one bar over all the nodes, the nodes, how many are in
which state, the last notices. Every state has a word and a sign of its own; colour only repeats it.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import PurePath

from rhubarbe import events
from rhubarbe.displays import cells, wording
from rhubarbe.displays.tally import NodeRecord, NodeState, Tally
from rhubarbe.events import Event

_GAP = 2  # columns between two nodes on one row
_PERCENT = 5  # columns of " 100%"
_PAGE_S = 4.0
_NOTICES = 3
_TALL, _MEDIUM, _LOW = 16, 8, 3  # from how many rows: three notices, one notice, a title


class Style(Enum):
    """What a piece of text is about; the screen chooses how that looks."""

    PLAIN = auto()
    TITLE = auto()
    FAILED = auto()
    BUSY = auto()
    WAITING = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Span:
    """Printable text of one style."""

    text: str
    style: Style = Style.PLAIN


Line = list[Span]


class Board:
    """The state of one command, as it is drawn; `render` may be called at any time, at any size."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.notices: deque[str] = deque(maxlen=_NOTICES)
        self._title = ""

    def take(self, event: Event) -> None:
        """Take one event into account; nothing is drawn."""
        self.tally.take(event)
        if isinstance(event, events.Started):
            self._title = wording.program(event.command)
        elif isinstance(event, events.ImageChosen):
            name = wording.sanitise(PurePath(event.path).name)
            self._title += f" {name} ({wording.amount(event.size)})"
        elif _is_notice(event):
            self.notices.extend(filter(None, [wording.line(event)]))

    def render(self, width: int, height: int, elapsed: float) -> list[Line]:
        """Draw at most `height` lines of at most `width` columns, `elapsed` seconds after start.

        Where not all the nodes have room, those that failed or are busy come first, in turns of a
        few seconds if they are too many themselves.
        """
        if width <= 0 or height <= 0:
            return []
        head, foot = self._head(width, height, elapsed), self._foot(width, height)
        room = height - len(head) - len(foot)
        body = self._body(width, room, elapsed)
        padding: list[Line] = [[] for _ in range(room - len(body))]
        return head + body + padding + foot

    def _head(self, width: int, height: int, elapsed: float) -> list[Line]:
        clock = f" {elapsed:+04.0f}s"
        title = cells.fit(self._title, width - len(clock)) + clock
        percent = self.tally.percent()
        overall = f"{cells.bar(percent, width - _PERCENT)}{int(percent):4}%"
        lines = [_plain(title, width, Style.TITLE), _plain(overall, width)]
        return lines if height >= _LOW else lines[1:]

    def _foot(self, width: int, height: int) -> list[Line]:
        if height == 1:
            return []
        room = _NOTICES if height >= _TALL else 1 if height >= _MEDIUM else 0
        shown = list(self.notices)[-room:] if room else []
        nodes = self.tally.nodes.values()
        counts = f"{wording.nodes(len(nodes))}: {_states(nodes)}" if nodes else "no node yet"
        lines = [_plain(text, width) for text in (counts, *shown)]
        return lines + [[] for _ in range(room - len(shown))]

    def _body(self, width: int, rows: int, elapsed: float) -> list[Line]:
        nodes = list(self.tally.nodes.values())
        if not nodes or rows <= 0:
            return []
        name = max(cells.columns(node.name) for node in nodes)
        most = max(1, (width + _GAP) // (name + cells.NARROWEST + _GAP))
        needed = -(-len(nodes) // rows)
        if needed <= most:
            return self._grid(nodes, needed, rows, width)
        shown, hidden = _choose(nodes, most * (rows - 1), elapsed)
        more = f"… and {len(hidden)} more: {_states(hidden)}"
        return [*self._grid(shown, most, rows - 1, width), _plain(more, width)]

    def _grid(self, nodes: list[NodeRecord], columns: int, rows: int, width: int) -> list[Line]:
        """Lay `nodes` out, down the first column, then down the next."""
        name = max((cells.columns(node.name) for node in nodes), default=0)
        room = (width + _GAP) // columns - _GAP
        bars = self.tally.has_progress
        lines: list[Line] = []
        for row in range(min(rows, len(nodes))):
            line: Line = []
            for record in nodes[row::rows]:
                gap = " " * _GAP if line else ""
                text = gap + cells.node(record, room, name, bars=bars)
                line.append(Span(text, Style[record.state.name]))
            lines.append(line)
        return lines


def _plain(text: str, width: int, style: Style = Style.PLAIN) -> Line:
    return [Span(cells.clip(text, width), style)]


def _is_notice(event: Event) -> bool:
    return isinstance(event, events.NodeFailed) or not isinstance(event, events.NodeEvent)


def _states(nodes: Iterable[NodeRecord]) -> str:
    counts = Counter(node.state for node in nodes)
    return ", ".join(f"{counts[state]} {state}" for state in NodeState if counts[state])


def _choose(
    nodes: list[NodeRecord], room: int, elapsed: float
) -> tuple[list[NodeRecord], list[NodeRecord]]:
    """Split `nodes` into those shown now and the others."""
    ranks = {state: rank for rank, state in enumerate(NodeState)}
    ranked = sorted(nodes, key=lambda node: ranks[node.state])
    live = sum(1 for node in ranked if node.state in (NodeState.FAILED, NodeState.BUSY))
    pages = max(1, -(-live // room)) if room else 1
    start = int(elapsed // _PAGE_S) % pages * room
    return ranked[start : start + room], ranked[:start] + ranked[start + room :]
