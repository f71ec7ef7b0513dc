"""How far a program is: the dots that other programs read, or a bar when a person looks."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rhubarbe.imaging.telling import tell

GIGABYTE = 10**9
_UNZIP_COLUMNS = 67
_ZIP_COLUMNS = 61


class ProgressDisplay(Protocol):
    """What a long piece of work tells of itself, from any thread; `done` of `total` bytes."""

    def advance(self, done: int, *, remaining: int = 0, kind: str = ".") -> None:
        """One more chunk is done."""

    def finish(self) -> None:
        """All is done."""

    def stop(self) -> None:
        """No more will be done: leave the cursor on a line of its own."""


@contextmanager
def shown(progress: ProgressDisplay) -> Iterator[None]:
    """Finish the progress after work that ends well, stop it before an error is told."""
    try:
        yield
    except BaseException:  # a signal too ends the line
        progress.stop()
        raise
    progress.finish()


class NoDisplay:
    """Says nothing."""

    def advance(self, done: int, *, remaining: int = 0, kind: str = ".") -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""


class ZipDots:
    """A dot for each chunk made; after 61 of them where we are in the input, and the seconds."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._column = 0

    def advance(self, done: int, *, remaining: int = 0, kind: str = ".") -> None:
        """Print one dot; `done` is the offset in the input."""
        tell(kind)
        self._column += 1
        if self._column == _ZIP_COLUMNS:
            self._column = 0
            tell(f" {done:12d} {int(time.monotonic() - self._started):4d}\n")

    def finish(self) -> None:
        """End the line."""
        self.stop()

    def stop(self) -> None:
        """End the line."""
        if self._column:
            tell("\n")


class UnzipDots:
    """Dots for chunks (-o), for each 10^9 bytes of progress (-O), or both.

    After 67 of them the seconds, and how many chunks remain.
    """

    def __init__(self, *, chunks: bool, gigabytes: bool) -> None:
        self._chunks = chunks
        self._gigabytes = gigabytes
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._column = self._passed = 0

    def advance(self, done: int, *, remaining: int = 0, kind: str = ".") -> None:
        """Print the dots that one more chunk is worth; `done` is the progress in bytes."""
        with self._lock:
            count = max(done // GIGABYTE - self._passed, 0)
            self._passed += count
            text = kind * (count if self._gigabytes else 0) + "." * self._chunks
            for dot in text:
                self._dot(dot, remaining)

    def finish(self) -> None:
        """Fill the line up to the last column."""
        tell(" " * (_UNZIP_COLUMNS - self._column))
        tell(f"{int(time.monotonic() - self._started):4d} {0:6d}\n")

    def stop(self) -> None:
        """End the line."""
        if self._column:
            tell("\n")

    def _dot(self, dot: str, remaining: int) -> None:
        tell(dot)
        self._column += 1
        if self._column == _UNZIP_COLUMNS:
            self._column = 0
            tell(f"{int(time.monotonic() - self._started):4d} {remaining:6d}\n")


class ProgressBar:
    """A bar with percent, rate and time to go, for a person at a terminal."""

    def __init__(self, total: int) -> None:
        import progressbar  # slow to load, and only a terminal wants it

        self._lock = threading.Lock()
        self._bar = progressbar.ProgressBar(
            max_value=max(total, 1),
            max_error=False,
            widgets=[
                progressbar.Percentage(),
                " ",
                progressbar.Bar(),  # type: ignore[no-untyped-call]
                " ",
                progressbar.FileTransferSpeed(),  # type: ignore[no-untyped-call]
                " ",
                progressbar.ETA(),  # type: ignore[no-untyped-call]
            ],
        )

    def advance(self, done: int, *, remaining: int = 0, kind: str = ".") -> None:
        """Move the bar to `done` bytes."""
        with self._lock:
            self._bar.update(done)

    def finish(self) -> None:
        """Leave a full bar, on a line of its own."""
        self._bar.finish()

    def stop(self) -> None:
        """Leave the bar where it is, on a line of its own, if it was drawn."""
        self._bar.finish(dirty=True)


def has_bars() -> bool:
    """Whether a bar can be drawn: a ramdisk does without the library."""
    from importlib.util import find_spec  # costs some ms, and only a terminal wants it

    return find_spec("progressbar") is not None
