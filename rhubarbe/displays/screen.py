"""A terminal that is drawn on by the control sequences of its terminfo entry, as an outlet's text.

Curses draws by itself, and waits for a terminal that is stopped; this only says what to write.
Keys are left alone: nothing here reads, so that what is typed meanwhile reaches the shell.
"""

import contextlib
import curses
import os
import re
import signal
import termios
from collections.abc import Iterator, Sequence
from typing import Any

from rhubarbe.displays import cells
from rhubarbe.displays.board import Line, Style
from rhubarbe.displays.errors import NoTerminal

_COLOURS = {Style.FAILED: curses.COLOR_RED, Style.DONE: curses.COLOR_GREEN}
_LOCAL_FLAGS = 3  # in what tcgetattr returns
_DELAY = re.compile(rb"\$<[^>]*>")  # a pause in terminfo, which only old terminals needed


class Screen:
    """Says how to enter, draw and leave the full screen of the terminal behind a descriptor.

    Raises `NoTerminal` where it cannot be drawn on.
    """

    def __init__(self, descriptor: int) -> None:
        term = os.environ.get("TERM", "")
        try:
            curses.setupterm(term, descriptor)
        except curses.error:
            pass
        else:
            if curses.tigetstr("cup") is not None:
                self._descriptor = descriptor
                self._styles = {style: _style(style) for style in Style}
                self._plain = _word("sgr0")
                self._size = (0, 0)
                self._drawn: list[str] = []
                self._before: list[Any] | None = None
                return
        raise NoTerminal(f"a terminal of type {term or '(TERM is not set)'} cannot be drawn on")

    def size(self) -> tuple[int, int]:
        """Return how many columns and rows there are now."""
        try:
            found = os.get_terminal_size(self._descriptor)
        except OSError:
            found = os.terminal_size((0, 0))
        columns, rows = found.columns or curses.tigetnum("cols"), found.lines
        rows = rows or curses.tigetnum("lines")
        # Some scroll when the last column is written to.
        scrolls = curses.tigetflag("am") > 0 and curses.tigetflag("xenl") <= 0
        return max(1, columns - scrolls), max(1, rows)

    def is_ours(self) -> bool:
        """Whether we may draw: else it is the terminal of another job than ours."""
        with contextlib.suppress(OSError):  # not our controlling terminal: nothing can stop us
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        return True

    def enter(self) -> str:
        """Switch the echo of keys off, and return what begins a full screen."""
        with contextlib.suppress(termios.error):
            self._before = termios.tcgetattr(self._descriptor)
            ours = list(self._before)
            ours[_LOCAL_FLAGS] &= ~termios.ECHO
            self._set(ours)
        self._size = (0, 0)
        return _word("smcup") + _word("civis")

    def leave(self) -> str:
        """Switch the echo back to what it was, and return what ends a full screen."""
        if self._before is not None:
            with contextlib.suppress(termios.error):  # it has gone
                self._set(self._before)
            self._before = None
        return self._plain + _word("cnorm") + _word("rmcup")

    def draw(self, lines: Sequence[Line], size: tuple[int, int]) -> str:
        """Return how to show these lines, one a row, where those that were drawn stand."""
        text = ""
        if size != self._size:
            self._size, self._drawn = size, []
            text = self._plain + _word("clear")
        drawn = [self._row(line) for line in lines]
        for row, new in enumerate(drawn):
            if row >= len(self._drawn) or new != self._drawn[row]:
                text += _word("cup", row, 0) + self._plain + _word("el") + new
        self._drawn = drawn
        return text

    def _row(self, line: Line) -> str:
        text = "".join(f"{self._styles[each.style]}{each.text}{self._plain}" for each in line)
        return text if cells.columns("".join(each.text for each in line)) else ""

    def _set(self, attributes: list[Any]) -> None:
        # TCSANOW, since others would wait for the output; undisturbed, since it stops jobs that
        # are in the background.
        with _undisturbed():
            termios.tcsetattr(self._descriptor, termios.TCSANOW, attributes)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _word(name: str, *numbers: int) -> str:
    found = curses.tigetstr(name)
    if not found:
        return ""
    told = curses.tparm(found, *numbers) if numbers else found
    return _DELAY.sub(b"", told).decode("ascii", "ignore")


def _style(style: Style) -> str:
    word = {Style.TITLE: "bold", Style.FAILED: "bold", Style.WAITING: "dim"}.get(style)
    text = _word(word) if word else ""
    if style in _COLOURS and curses.tigetnum("colors") > max(_COLOURS.values()):
        text += _word("setaf", _COLOURS[style])
    return text
