"""What became of a command, as one JSON document in a file.

Its keys are those of the events `Started` and `Finished`, with `started` and `ended` (ISO 8601),
`image` where there is one, and `error` where the command could not even begin.
"""

import json
import os
import queue
from dataclasses import asdict
from pathlib import Path

from rhubarbe.displays.display import Clock, local_time
from rhubarbe.displays.writer import start_thread
from rhubarbe.events import Event, Finished, ImageChosen, ImageSaved, Started
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import leads_to_device, open_device, umask

WRITTEN_WITHIN_S = 10.0


class Report:
    """Gathers the outcome; `write` puts it into the file, once all is over."""

    outlets = ()

    def __init__(self, path: Path, *, clock: Clock = local_time) -> None:
        self._path = path
        self._clock = clock
        self._document: dict[str, object] = {"started": self._now(), "exit_code": 1}

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
        """Write the file: whole under its name, or not at all; raises OSError.

        That is given up after a while: it may be a pipe that nobody reads, or on a disk that does
        not answer.
        """
        text = json.dumps(self._document | {"ended": self._now()}, indent=2) + "\n"
        ended: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                _write(self._path, text)
            except OSError as error:
                ended.put(error)
            else:
                ended.put(None)

        start_thread(work, "report")
        try:
            error = ended.get(timeout=WRITTEN_WITHIN_S)
        except queue.Empty:
            raise OSError(f"no answer in {WRITTEN_WITHIN_S:g} s") from None
        if error is not None:
            raise error


def _write(path: Path, text: str) -> None:
    if leads_to_device(path):
        _pour(path, text)
        return
    directory, name = Directory.of(path)
    with directory:
        directory.replace(name, text.encode("ascii"), os.getuid(), 0o666 & ~umask())


def _pour(path: Path, text: str) -> None:
    """Write into a pipe or a terminal: it cannot be replaced as a file is."""
    descriptor = open_device(path)
    with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 - of a descriptor
        stream.write(text)
