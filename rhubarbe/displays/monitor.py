"""The board on a curses screen.

Curses writes to the process's own standard output. Keys are left alone: nothing here reads standard
input, so that what is typed meanwhile reaches the shell, and the end waits for nobody.
"""

import contextlib
import curses
import os
import signal
import sys
from collections.abc import Iterator

from rhubarbe.displays import cells, wording
from rhubarbe.displays.board import Board, Line, Style
from rhubarbe.displays.display import Clock, local_time
from rhubarbe.displays.errors import NoTerminal
from rhubarbe.displays.outlet import Outlet
from rhubarbe.displays.table import table
from rhubarbe.events import Event, Finished, ImageSaved, NodeFailed, Notice

_COLOURS = {Style.FAILED: curses.COLOR_RED, Style.DONE: curses.COLOR_GREEN}
_SIGNALS_OF_CURSES = (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGWINCH)


class Monitor:
    """A full screen while the command runs; afterwards, on the normal screen, how it ended.

    Raises `NoTerminal` where it cannot draw. Drawing happens in `tick` only, so that events cost
    little. To be made and used in the main thread.
    """

    def __init__(self, *, clock: Clock = local_time) -> None:
        _check_terminal()
        self._clock = clock
        self._start = clock()
        self._board = Board()
        self._closing: list[str] = []
        self._styles: dict[Style, int] = {}
        self._screen: curses.window | None = self._enter()

    def show(self, event: Event) -> None:
        """Take one event in; it is drawn at the next tick."""
        self._board.take(event)
        if isinstance(event, Finished):
            self._closing += [*table(event), *wording.closing(event)]
        elif isinstance(event, NodeFailed | Notice | ImageSaved):
            self._closing.append(wording.describe(event))

    def tick(self) -> None:
        """Draw the board, at whatever size the terminal now has."""
        if self._screen is None:
            return
        with self._gone_unless_well():
            _follow_size()
            self._draw(self._screen)

    def close(self) -> None:
        """Leave the screen, then print the failures and the closing lines."""
        self._leave()
        closing, self._closing = self._closing, []
        Outlet(sys.stdout).write("".join(f"{line}\n" for line in closing))

    def _enter(self) -> curses.window:
        sys.stdout.flush()
        screen = curses.initscr()
        with self._gone_unless_well():
            curses.noecho()
            curses.typeahead(-1)  # or pending keys, which nobody reads, would hold drawing back
            self._styles = _styles()
            with contextlib.suppress(curses.error):  # a terminal may be unable to
                curses.curs_set(0)
        return screen

    def _leave(self) -> None:
        self._screen = None
        with contextlib.suppress(curses.error):  # already left, or the terminal has gone
            if not curses.isendwin():
                curses.endwin()
        _give_signals_back()

    @contextlib.contextmanager
    def _gone_unless_well(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._leave()
            raise

    def _draw(self, screen: curses.window) -> None:
        height, width = screen.getmaxyx()
        elapsed = (self._clock() - self._start).total_seconds()
        screen.erase()
        for row, line in enumerate(self._board.render(width, height, elapsed)):
            self._draw_line(screen, row, line)
        screen.refresh()

    def _draw_line(self, screen: curses.window, row: int, line: Line) -> None:
        column = 0
        for span in line:
            # Curses complains when the cursor cannot step past the last column of the last row.
            with contextlib.suppress(curses.error):
                text = span.text.encode(screen.encoding, "replace").decode(screen.encoding)
                screen.addstr(row, column, text, self._styles[span.style])
            column += cells.columns(span.text)


def _check_terminal() -> None:
    output = sys.__stdout__
    if output is None or not output.isatty():
        raise NoTerminal("standard output is not a terminal")
    term = os.environ.get("TERM", "")
    try:
        curses.setupterm(term, output.fileno())
        able = curses.tigetstr("cup") is not None
    except curses.error:
        able = False
    if not able:
        raise NoTerminal(f"a terminal of type {term or '(TERM is not set)'} cannot be drawn on")
    with contextlib.suppress(OSError):  # not our controlling terminal: nothing can stop us
        if os.tcgetpgrp(output.fileno()) != os.getpgrp():
            raise NoTerminal("the command runs in the background")


def _follow_size() -> None:
    with contextlib.suppress(OSError):
        size = os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1)
        if min(size) > 0 and curses.is_term_resized(size.lines, size.columns):
            curses.resizeterm(size.lines, size.columns)


def _styles() -> dict[Style, int]:
    styles = dict.fromkeys(Style, curses.A_NORMAL)
    styles |= {Style.TITLE: curses.A_BOLD, Style.FAILED: curses.A_BOLD, Style.WAITING: curses.A_DIM}
    with contextlib.suppress(curses.error):
        curses.start_color()
        curses.use_default_colors()
        for pair, (style, colour) in enumerate(_COLOURS.items(), start=1):
            curses.init_pair(pair, colour, -1)
            styles[style] |= curses.color_pair(pair)
    return styles


def _give_signals_back() -> None:
    """Undo the handlers that curses puts where Python has none, below Python's knowledge."""
    for number in _SIGNALS_OF_CURSES:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
