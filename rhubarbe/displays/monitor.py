"""The board on a full screen.

Nothing here waits for the terminal: what it does not take is not drawn. Keys are not read, and the
end does not wait for a key.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from rhubarbe.displays import wording
from rhubarbe.displays.board import Board
from rhubarbe.displays.display import Clock, local_time, stopwatch
from rhubarbe.displays.errors import NoTerminal
from rhubarbe.displays.outlet import Outlet
from rhubarbe.displays.screen import Screen
from rhubarbe.displays.table import table
from rhubarbe.events import Event, Finished, ImageSaved, NodeFailed, Notice

# A terminal gets so long to show what was written, where something else must follow.
_MOMENT_S = 0.5


class Monitor:
    """A full screen while the command runs; afterwards, on the normal screen, how it ended.

    Raises `NoTerminal` where it cannot draw. Drawing happens in `tick` only, so that events cost
    little. To be made and used in the main thread.
    """

    def __init__(self, *, clock: Clock = local_time) -> None:
        self._screen = _open_screen()
        self.outlet = Outlet(sys.stdout)
        self.outlets = (self.outlet,)
        self._elapsed = stopwatch(clock)
        self._board = Board()
        self._closing: list[str] = []
        self._is_drawing = self._is_asked_to_stop = False
        self._handles_stops = signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
        self._enter()

    def show(self, event: Event) -> None:
        """Take one event in; it is drawn at the next tick."""
        self._board.take(event)
        if isinstance(event, Finished):
            self._closing += [*table(event), *wording.closing(event)]
        elif isinstance(event, NodeFailed | Notice | ImageSaved):
            self._closing.append(wording.describe(event))

    def tick(self) -> None:
        """Draw the board, at whatever size the terminal now has, unless it is behind."""
        if self._is_asked_to_stop:
            self._stop()
        if self._is_drawing and not self.outlet.is_behind and self._screen.is_ours():
            with self._left_unless_well():
                self._draw()

    def close(self) -> None:
        """Leave the screen, then print the failures and the closing lines."""
        self._leave()
        closing, self._closing = self._closing, []
        self.outlet.write("".join(f"{line}\n" for line in closing))
        self.outlet.end()

    def _enter(self) -> None:
        self.outlet.write(self._screen.enter())
        self._is_drawing = True
        if self._handles_stops:
            signal.signal(signal.SIGTSTP, self._ask_to_stop)

    def _leave(self) -> None:
        if self._is_drawing:
            self._is_drawing = False
            self.outlet.write(self._screen.leave())
            if self._handles_stops:
                signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def _ask_to_stop(self, *_: object) -> None:
        self._is_asked_to_stop = True

    def _stop(self) -> None:
        """Do what ^Z asks for: give the terminal back, stop, and go on where we are continued."""
        self._is_asked_to_stop = False
        self._leave()
        self.outlet.drain(_MOMENT_S)
        os.kill(os.getpid(), signal.SIGTSTP)
        self._enter()

    @contextlib.contextmanager
    def _left_unless_well(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._leave()
            self.outlet.drain(_MOMENT_S)
            raise

    def _draw(self) -> None:
        columns, rows = size = self._screen.size()
        lines = self._board.render(columns, rows, self._elapsed())
        self.outlet.write(self._screen.draw(lines, size))


def _open_screen() -> Screen:
    output = sys.__stdout__
    if output is None or not output.isatty():
        raise NoTerminal("standard output is not a terminal")
    screen = Screen(output.fileno())
    if not screen.is_ours():
        raise NoTerminal("the command runs in the background")
    return screen
