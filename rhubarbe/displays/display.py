"""What every window is to the front door: something that is shown events, ticked, then closed."""

from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import Protocol

from rhubarbe.displays.outlet import Outlet
from rhubarbe.events import Event

Clock = Callable[[], datetime]
"""Says what time it is, with its zone; handed to displays, so that tests move it by hand."""


def local_time() -> datetime:
    """Say the time on this machine, with its zone."""
    return datetime.now().astimezone()


def stopwatch(clock: Clock) -> Callable[[], float]:
    """Return a function that says how many seconds have passed, also while the clock is set anew.

    A clock that tests move by hand is its own stopwatch.
    """
    if clock is local_time:
        begun = monotonic()
        return lambda: monotonic() - begun
    start = clock()
    return lambda: (clock() - start).total_seconds()


class Display(Protocol):
    """A window on one command; all is called in the event loop's thread, which is not held up."""

    @property
    def outlets(self) -> Sequence[Outlet]:
        """Where it writes."""

    def show(self, event: Event) -> None:
        """Take one event in; cheap, and raises nothing that the outside world may cause."""

    def tick(self) -> None:
        """Redraw what has changed; called a few times a second."""

    def close(self) -> None:
        """Give the terminal back and print what is left; called on every way out, once or more.

        It waits until that is read, but no longer than its outlets do.
        """
