"""Every event, with date and time, in a log file: also what frisbee and imagezip say on each node.

Lines read `2026-11-25 10:00:00.123 fit01: reset: done in 1.2 s`.
"""

from typing import TextIO

from rhubarbe.displays import wording
from rhubarbe.displays.display import Clock, local_time
from rhubarbe.displays.outlet import Outlet, missing
from rhubarbe.events import Event, Finished


class LogFile:
    """Appends to a text stream, which becomes ours to close.

    A disk that is full or stuck loses lines, never the command: `outlet.failure` tells why, and the
    file how many.
    """

    def __init__(self, stream: TextIO, *, clock: Clock = local_time) -> None:
        self.outlet = Outlet(stream, tell_missing=self._missing, owned=True)
        self.outlets = (self.outlet,)
        self._clock = clock

    def show(self, event: Event) -> None:
        """Write one event as one line, and the end of a command as several."""
        self.outlet.write(self._timed(_lines(event)))

    def tick(self) -> None:
        """Nothing to redraw."""

    def close(self) -> None:
        """Close the file."""
        self.outlet.end()

    def _timed(self, lines: list[str]) -> str:
        time = self._clock().isoformat(sep=" ", timespec="milliseconds")[:23]
        return "".join(f"{time} {line}\n" for line in lines)

    def _missing(self, lines: int, reason: str) -> str:
        return self._timed([missing(lines, reason)])


def _lines(event: Event) -> list[str]:
    if isinstance(event, Finished):
        return wording.closing(event)
    return [wording.describe(event)]
