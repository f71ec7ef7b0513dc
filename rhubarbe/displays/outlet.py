"""A text stream that may fail or be stuck, which neither fails a command nor holds it up."""

import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from rhubarbe.displays.writer import MOST, NOBODY_READS, Grace, Writer

# While more bytes than this wait to be written, nothing is redrawn.
_BEHIND = 1 << 16
# How long `say` waits for whoever reads.
_LAST_WORD_S = 0.5


def missing(lines: int, reason: str) -> str:
    """Word what stands where lines are missing."""
    return f"{lines} line{'s are' if lines != 1 else ' is'} missing here: {reason}"


class Outlet:
    """Writes to a stream, flushed each time; what cannot be written is dropped, the oldest first.

    Nothing here waits for the stream but `drain` and `end`, which does for as long as `grace`
    says. `failure` remembers the first error; where lines are lost, the stream is told how many, in
    the words of `tell_missing`. Once the other end is gone for good, the descriptor is turned to
    `/dev/null`, so that the interpreter's own flush at exit does not change the exit code. A stream
    in memory is written to at once.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        tell_missing: Callable[[int, str], str] = lambda lines, reason: (
            f"{missing(lines, reason)}\n"
        ),
        most: int = MOST,
        owned: bool = False,
    ) -> None:
        """Write to `stream`, of which at most `most` bytes wait; one that is `owned` is closed."""
        self.stream = stream
        self._owned = owned
        self._encoding = stream.encoding or "utf-8"
        self.grace = Grace()
        self._failure: OSError | ValueError | None = None
        self._tell_missing = tell_missing
        self._writer: Writer | None = None
        with suppress(OSError, ValueError):
            descriptor = stream.fileno()
            stream.flush()  # what somebody wrote before us comes first
            self._writer = Writer(descriptor, self._told, most)
            if owned:
                stream.close()  # the writer has its own way there, and closes it without us

    def write(self, text: str) -> None:
        """Have `text` written; what the stream's encoding lacks becomes a question mark."""
        if self._writer is not None:
            self._writer.put(self._encoded(text), _lines(text))
            return
        try:
            self.stream.write(self._encoded(text).decode(self._encoding))
            self.stream.flush()
        except (OSError, ValueError) as error:  # ValueError: somebody closed the stream
            self._failure = self._failure or error

    @property
    def failure(self) -> OSError | ValueError | None:
        """Why something was lost; None if nothing is."""
        return self._writer.failure if self._writer else self._failure

    @property
    def is_behind(self) -> bool:
        """Whether so much waits that nothing should be drawn anew."""
        return self._writer is not None and self._writer.waiting > _BEHIND

    @property
    def is_incomplete(self) -> bool:
        """Whether something was lost to somebody who is still there: a disk was full."""
        error = self.failure
        return isinstance(error, OSError) and error.errno not in NOBODY_READS

    def drain(self, seconds: float) -> None:
        """Wait until all is written, but no longer than this."""
        if self._writer is not None:
            self._writer.drain(Grace(seconds, seconds))

    def end(self) -> None:
        """Take nothing more, and wait for at most `grace` until all is written, and close it."""
        if self._writer is not None:
            if not self._writer.end(self.grace):
                self.grace.shorten(0)  # the others that share it had as much time
        elif self._owned:
            self.stream.close()

    def _encoded(self, text: str) -> bytes:
        return text.encode(self._encoding, "replace")

    def _told(self, lines: int, reason: str) -> bytes:
        return self._encoded(self._tell_missing(lines, reason))


def _lines(text: str) -> int:
    return max(1, text.count("\n"))


def say(stream: TextIO | None, text: str) -> None:
    """Write a last line, and wait but a moment for whoever reads it.

    Without a thread, since the line may be that none could be started.
    """
    if stream is None:  # closed by whoever started us
        return
    with suppress(OSError, ValueError):
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):  # in memory
            stream.write(f"{text}\n")
            return
        left = f"{text}\n".encode(stream.encoding or "utf-8", "replace")
        if _takes_more(descriptor):
            stream.flush()  # what was written before us comes first
        while left and _takes_more(descriptor):
            left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]


def _takes_more(descriptor: int) -> bool:
    """Tell whether as much as a pipe takes in one piece can be written within a moment."""
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    return bool(ready.poll(_LAST_WORD_S * 1000))
