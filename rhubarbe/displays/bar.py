"""The default display: a line for each event worth one, below them one bar over all the nodes."""

import io
import os
from typing import TYPE_CHECKING, TextIO

from rhubarbe.displays import wording
from rhubarbe.displays.display import Clock, local_time, stopwatch
from rhubarbe.displays.outlet import Outlet, missing
from rhubarbe.displays.table import table
from rhubarbe.displays.tally import Tally
from rhubarbe.events import Event, Finished, NodeNoted

if TYPE_CHECKING:
    import progressbar


_ERASE = "\r\x1b[K"
_STEP = 10  # percent between two progress lines where there is no terminal
_DEFAULT_WIDTH = 80


class Bar:
    """Timed lines on a stream; on a terminal, a bar below them that follows its width.

    Elsewhere (a file, a pipe, a terminal without cursor) there is a line at each tenth instead of
    the bar. With `verbose`, what programs on the nodes say is shown as well; without `notes`, no
    detail of a single node is.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        notes: bool = True,
        clock: Clock = local_time,
        terminal: bool | None = None,
    ) -> None:
        self.outlet = Outlet(stream, tell_missing=self._missing)
        self.outlets = (self.outlet,)
        self._verbose = verbose
        self._quiet = () if notes or verbose else (NodeNoted,)
        self._clock = clock
        self._elapsed = stopwatch(clock)
        self._tally = Tally()
        self._strip = _Strip() if (_can_erase(stream) if terminal is None else terminal) else None
        self._drawn = ""
        self._tenth = 0
        self._over = False

    def show(self, event: Event) -> None:
        """Print the event's line, if it has one, above the bar."""
        self._tally.take(event)
        if isinstance(event, Finished):
            self.tick()
            self._erase()
            lines = [*table(event), *wording.closing(event)]
            self.outlet.write("".join(f"{line}\n" for line in lines))
        elif isinstance(event, self._quiet):
            return
        elif text := wording.line(event, verbose=self._verbose):
            self._print(text)

    def tick(self) -> None:
        """Redraw the bar, or tell the next tenth."""
        if self._over or not self._tally.nodes or self.outlet.is_behind:
            return
        if self._strip is None:
            self._tell_tenth()
        else:
            strip = self._strip.draw(self._tally, self._elapsed(), _width(self.outlet.stream))
            self.outlet.write(("\r" if self._drawn else "") + strip + "\x1b[K")
            self._drawn = strip

    def close(self) -> None:
        """Erase the bar, if there still is one."""
        self._erase()
        self.outlet.end()

    def _erase(self) -> None:
        if self._drawn:
            self.outlet.write(_ERASE)
        self._drawn = ""
        self._over = True

    def _line(self, text: str) -> str:
        return f"{self._clock():%H:%M:%S} - {self._elapsed():+04.0f}s: {text}\n"

    def _missing(self, lines: int, reason: str) -> str:
        return ("" if self._strip is None else _ERASE) + self._line(missing(lines, reason))

    def _print(self, text: str) -> None:
        line = self._line(text)
        self.outlet.write(f"{_ERASE}{line}{self._drawn}" if self._drawn else line)

    def _tell_tenth(self) -> None:
        percent = self._tally.percent()
        if self._tally.has_progress and percent >= self._tenth + _STEP:
            self._tenth = int(percent // _STEP) * _STEP
            self._print(f"progress: {self._tenth} %")


class _Strip:
    """One progressbar2 bar, drawn into a string: bar, percentage, elapsed time, time to go."""

    def __init__(self) -> None:
        import progressbar  # slow to load, and only a terminal wants it

        self._page = io.StringIO()
        self._times = progressbar.FormatCustomText("%(elapsed).0fs | ETA %(left)s")
        self._first: tuple[float, float] | None = None
        self._bar = progressbar.ProgressBar(
            max_value=100.0,
            max_error=False,
            fd=self._page,
            is_terminal=True,
            line_breaks=False,
            enable_colors=False,
            term_width=_DEFAULT_WIDTH,  # set by us at each redraw: no handler for SIGWINCH
            widgets=["[", _stretch(), "] ", progressbar.Percentage(), " | ", self._times],
        )

    def draw(self, tally: Tally, elapsed: float, width: int) -> str:
        """Draw one line, narrower than `width` columns."""
        percent = tally.percent()
        self._times.update_mapping(elapsed=elapsed, left=self._left(percent, elapsed))
        self._bar.term_width = max(1, width - 1)
        self._page.seek(0)
        self._page.truncate()
        self._bar.update(percent, force=True)
        return self._page.getvalue().rpartition("\r")[2][: width - 1].rstrip()

    def _left(self, percent: float, elapsed: float) -> str:
        """Estimate the time to go by the speed since the first byte: resets are no measure."""
        if self._first is None and percent:
            self._first = (percent, elapsed)
        percent_then, elapsed_then = self._first or (percent, elapsed)
        if percent <= percent_then or elapsed <= elapsed_then:
            return "--:--"
        speed = (percent - percent_then) / (elapsed - elapsed_then)
        minutes, seconds = divmod(round((100.0 - percent) / speed), 60)
        return f"{minutes}:{seconds:02}"


def _can_erase(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):
        return _DEFAULT_WIDTH


def _stretch() -> "progressbar.Bar":
    import progressbar

    return progressbar.Bar(left="", right="", fill=".")  # type: ignore[no-untyped-call]
