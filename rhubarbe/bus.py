"""The feedback bus: whoever learns a fact reports it, whoever shows facts follows."""

import asyncio
from collections.abc import AsyncIterator

from rhubarbe.events import Event, Finished


class Bus:
    """A queue of events with an end; `report` never waits, so it may be called on any way out.

    `Finished` is the last event, also where others are reported after it.
    """

    def __init__(self) -> None:
        self.finished: Finished | None = None
        """How the command ended, once that is known."""
        self._subscriptions: list[asyncio.Queue[Event | None]] = []
        self._closed = False

    def report(self, event: Event) -> None:
        """Hand an event to every subscriber; `Finished` is held until the bus closes."""
        if isinstance(event, Finished) and not self._closed:
            self.finished = event
            return
        for queue in self._subscriptions:
            queue.put_nowait(event)

    def subscribe(self) -> AsyncIterator[Event]:
        """Return all events reported from now on, until the bus closes: none once it has."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._subscriptions.append(queue)
        if self._closed:
            queue.put_nowait(None)
        return self._follow(queue)

    async def _follow(self, queue: "asyncio.Queue[Event | None]") -> AsyncIterator[Event]:
        while (event := await queue.get()) is not None:
            yield event

    def close(self) -> None:
        """End the stream of every subscriber, after what was reported before."""
        self._closed = True
        if self.finished is not None:
            self.report(self.finished)
        for queue in self._subscriptions:
            queue.put_nowait(None)
