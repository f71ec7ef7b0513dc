r"""One JSON object an event, one event a line, for other programs.

Each object has `time` (ISO 8601 with milliseconds and zone) and `event` (the name of the class in
`rhubarbe.events`), then that class's own fields under their own names: node names as text,
durations in `seconds`, sizes in bytes, `percent` from 0 to 100, `phase` as its word::

    {"time": "2026-11-25T10:00:00.000+01:00", "event": "PhaseDone", "node": "fit01", "phase": "reset", "seconds": 1.23}

The first object is `Started`, but for what is to be said of log and screen; the last one `Finished`, with the sets `good` and `bad` in selection
syntax, the `exit_code`, and `nodes`: an object a node, as `rhubarbe.events.NodeResult` has it. Text is ASCII: whatever else a node said is escaped as JSON has it.
A byte that is no UTF-8, in the name of a file, is one of `\udc80` to `\udcff` (PEP 383).
A `Notice` stands where lines were dropped since nobody read them.
Programs should skip events and fields that they do not know.
"""  # noqa: E501 - one event is one line

import json
from dataclasses import asdict
from typing import TextIO

from rhubarbe.displays.display import Clock, local_time
from rhubarbe.displays.outlet import Outlet, missing
from rhubarbe.events import Event, Notice


class JsonLines:
    """A display for programs; each line is flushed as it is written."""

    def __init__(self, stream: TextIO, *, clock: Clock = local_time) -> None:
        self.outlet = Outlet(stream, tell_missing=self._missing)
        self.outlets = (self.outlet,)
        self._clock = clock

    def show(self, event: Event) -> None:
        """Write one object."""
        self.outlet.write(self._line(event))

    def tick(self) -> None:
        """Nothing to redraw."""

    def close(self) -> None:
        """Write what is left; the stream belongs to whoever opened it."""
        self.outlet.end()

    def _line(self, event: Event) -> str:
        told = {
            "time": self._clock().isoformat(timespec="milliseconds"),
            "event": type(event).__name__,
        }
        return json.dumps(told | asdict(event)) + "\n"

    def _missing(self, lines: int, reason: str) -> str:
        return self._line(Notice(text=missing(lines, reason)))
