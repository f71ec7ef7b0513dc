"""What became of a command, as one JSON document in a file.

Its keys are those of the events `Started` and `Finished`, with `started` and `ended` (ISO 8601),
`image` where there is one, and `error` where the command could not even begin.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rhubarbe.displays.display import Clock, local_time
from rhubarbe.events import Event, Finished, ImageChosen, ImageSaved, Started


class Report:
    """Gathers the outcome; `write` puts it into the file, once all is over."""

    def __init__(self, path: Path, *, clock: Clock = local_time) -> None:
        self._path = path
        self._clock = clock
        self._document: dict[str, Any] = {"started": self._now(), "exit_code": 1}

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")

    def show(self, event: Event) -> None:
        """Take in what belongs into the report."""
        if isinstance(event, Started):
            self._document |= {"command": event.command, "selection": event.nodes}
        elif isinstance(event, ImageChosen | ImageSaved):
            self._document["image"] = event.path
        elif isinstance(event, Finished):
            self._document |= asdict(event)

    def tick(self) -> None:
        """Nothing to redraw."""

    def close(self) -> None:
        """Nothing to give back."""

    def fail(self, words: str) -> None:
        """Take in why the command could not begin."""
        self._document["error"] = words

    def write(self) -> None:
        """Write the file: whole under its name, or not at all; raises OSError."""
        text = json.dumps(self._document | {"ended": self._now()}, indent=2) + "\n"
        if self._path.exists() and not self._path.is_file():
            self._path.write_text(text, encoding="ascii")  # a pipe, a terminal: nothing to replace
            return
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with draft.open("x", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
