"""A text stream that may fail under us without the command failing for it."""

import errno
import os
from typing import TextIO

_NOBODY_READS = frozenset({errno.EPIPE, errno.EIO, errno.ENXIO})


class Outlet:
    """Writes through to a stream, flushed each time; what cannot be written is dropped.

    `failure` remembers the first error, `dropped` counts the writes that were lost. Once the other
    end is gone for good, the descriptor is turned to `/dev/null`, so that the interpreter's own
    flush at exit does not change the exit code.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: OSError | ValueError | None = None
        self.dropped = 0

    def write(self, text: str) -> None:
        """Write and flush `text`; what the stream's encoding lacks becomes a question mark."""
        encoding = self.stream.encoding or "utf-8"
        try:
            self.stream.write(text.encode(encoding, "replace").decode(encoding))
            self.stream.flush()
        except (OSError, ValueError) as error:  # ValueError: somebody closed the stream
            self._give_up(error)

    @property
    def is_incomplete(self) -> bool:
        """Whether something was lost to somebody who still reads: a disk was full."""
        error = self.failure
        return isinstance(error, OSError) and error.errno not in _NOBODY_READS

    def close(self) -> None:
        """Close the stream, even where its last words cannot be written."""
        try:
            self.stream.close()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        self.dropped += 1
        self.failure = self.failure or error
        if isinstance(error, OSError) and error.errno in _NOBODY_READS:
            self._turn_to_nothing()

    def _turn_to_nothing(self) -> None:
        try:
            target = self.stream.fileno()
        except (OSError, ValueError):
            return
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, target)
        finally:
            os.close(nothing)
