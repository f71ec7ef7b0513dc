"""A limit of time for work whose pace others change: while it has half of it, time counts half."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_EVERY_S = 1.0


class TimeLimit:
    """Seconds within which something is to end, or more, if it is given more meanwhile."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.timeout = asyncio.timeout(seconds)

    def give(self, seconds: float) -> None:
        """Give more time, unless it is over, or endless."""
        when = self.timeout.when()
        if self.seconds is not None and when is not None and not self.timeout.expired():
            self.seconds += seconds
            self.timeout.reschedule(when + seconds)

    @contextmanager
    def following(self, pace: Callable[[], float]) -> Iterator[None]:
        """Have time count as the work's pace is, from 0 to 1, for the length of the context."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        handle: asyncio.TimerHandle

        def look() -> None:
            nonlocal last, handle
            now = loop.time()
            self.give((now - last) * (1 - pace()))
            last, handle = now, loop.call_later(LOOK_EVERY_S, look)

        handle = loop.call_later(LOOK_EVERY_S, look)
        try:
            yield
        finally:
            handle.cancel()
