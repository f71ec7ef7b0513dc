"""Bytes on their way into a descriptor that may be stuck: a thread writes, and nobody waits for it.

A terminal is stopped with ^S, a pipe is not read, a disk does not answer: a write then takes as
long as it likes. The descriptor is often the user's shell's too, so it is never made non-blocking.
"""

import errno
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

MOST = 1 << 20  # bytes that may wait
# Bytes of one write: a pipe takes so many in one piece, and it is known how many went out.
_AT_ONCE = 4096
_LOOK_EVERY_S = 0.02


def start_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """Start a thread that does not keep the process from ending, and leaves signals to others."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread


class Grace:
    """How long a command that is over waits for who reads its output."""

    def __init__(self, still_s: float = 5.0, total_s: float = 30.0) -> None:
        """Wait `total_s` seconds at most, and `still_s` while nothing goes out at all."""
        self.still_s = still_s
        self.total_s = total_s

    def shorten(self, seconds: float) -> None:
        """Wait no longer than that; for a signal handler, also while somebody waits."""
        self.still_s, self.total_s = min(self.still_s, seconds), min(self.total_s, seconds)


NOBODY_READS = frozenset({errno.EPIPE, errno.EIO, errno.ENXIO})


class _Piece(NamedTuple):
    content: bytes
    lines: int
    missing: int = 0  # lines dropped before it; its content tells of them


class Writer:
    """Writes into a descriptor, in order, as fast as that takes it; `put` never waits.

    When more than `most` bytes wait, the oldest are dropped. Before what comes next,
    `missing(lines, reason)` is written. The thread keeps no process from its end: it holds no
    buffer and no lock while it writes.
    """

    def __init__(
        self, descriptor: int, missing: Callable[[int, str], bytes], most: int = MOST
    ) -> None:
        self.failure: OSError | None = None
        self._given = descriptor
        # One of our own: nothing else gets this number while the thread may still write.
        self._descriptor = os.dup(descriptor)
        self._missing = missing
        self._most = most
        self._changed = threading.Condition()
        self._pieces: deque[_Piece] = deque()
        self._size = self._written = self._untold = 0
        self._reason = ""
        self._is_writing = self._is_over = self._is_cut = False
        try:
            self._thread = start_thread(self._run, "writer")
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def waiting(self) -> int:
        """How many bytes wait for those before them."""
        return self._size

    def put(self, content: bytes, lines: int) -> None:
        """Have this written; `lines` is how much is missing if it is not."""
        with self._changed:
            if self._is_over:
                return
            self._pieces.append(_Piece(content, lines))
            self._size += len(content)
            while self._size > self._most and len(self._pieces) > 1:
                oldest = self._pieces.popleft()
                self._size -= len(oldest.content)
                self._lose(oldest.lines, OSError("they could not be written in time"))
            self._changed.notify_all()

    def drain(self, grace: Grace) -> bool:
        """Wait until all is written, within this grace; tell whether it is."""
        return self._wait(grace, lambda: not self._pieces and not self._is_writing)

    def _wait(self, grace: Grace, is_done: Callable[[], bool]) -> bool:
        with self._changed:
            begun = moved = time.monotonic()
            written = self._written
            while not is_done():
                now = time.monotonic()
                if self._written != written:
                    written, moved = self._written, now
                if now >= min(moved + grace.still_s, begun + grace.total_s):
                    return False
                # Again and again: the limits may be shortened, and a thread's end wakes nobody.
                self._changed.wait(_LOOK_EVERY_S)
        return True

    def end(self, grace: Grace) -> bool:
        """Take nothing more, and wait for the end within this grace; tell whether it came."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._wait(grace, lambda: not self._thread.is_alive()):
            return True
        self.failure = self.failure or OSError("it is not read, or a disk does not answer")
        return False

    def _run(self) -> None:
        while (piece := self._next()) is not None:
            try:
                self._write(piece.content)
            except OSError as error:
                with self._changed:
                    self._untold += piece.missing
                    self._lose(piece.lines, error)
            finally:
                with self._changed:
                    self._is_writing = False
                    self._changed.notify_all()
        try:
            os.close(
                self._descriptor
            )  # some network filesystems tell only here that a write failed
        except OSError as error:
            self.failure = self.failure or error

    def _next(self) -> _Piece | None:
        """Wait for a piece; return it with what there is to say of those before it."""
        with self._changed:
            while not self._pieces:
                if self._is_over:
                    return None
                self._changed.wait()
            content, lines, _ = self._pieces.popleft()
            self._size -= len(content)
            self._is_writing = True
            untold, self._untold = self._untold, 0
            if untold:
                content = self._missing(untold, self._reason) + content
            return _Piece(content, lines, untold)

    def _write(self, content: bytes) -> None:
        rest = memoryview(b"\n" + content if self._is_cut else content)
        whole = len(rest)
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        try:
            while rest:
                try:
                    count = os.write(self._descriptor, rest[:_AT_ONCE])
                except BlockingIOError:  # somebody else made it non-blocking
                    ready.poll()
                else:
                    rest = rest[count:]
                    self._written += count
        finally:
            if len(rest) < whole:
                self._is_cut = bool(rest)

    def _lose(self, lines: int, error: OSError) -> None:
        self._untold += lines
        self._reason = os.strerror(error.errno) if error.errno else str(error)
        self.failure = self.failure or error
        if error.errno in NOBODY_READS:
            self._turn_to_nothing()

    def _turn_to_nothing(self) -> None:
        """Turn the descriptor to `/dev/null`, lest the interpreter complain at its own end."""
        with suppress(OSError):
            is_still_that = os.path.sameopenfile(self._given, self._descriptor)
            nothing = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nothing, self._descriptor, inheritable=False)
                if is_still_that:
                    os.dup2(nothing, self._given)
            finally:
                os.close(nothing)
