"""Runs a program that talks to another machine: whatever that says, it ends within bounds."""

import contextlib
import os
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rhubarbe.errors import GatewayError
from rhubarbe.text import sanitise

# Bytes that it may write: enough to list some ten thousand images.
MOST_TOLD = 8 << 20
PIECE = 1 << 16
# Seconds that a program may take to end when it is told to; then it is killed.
GRACE_S = 5.0
# Its progress is drawn once in so many seconds at most, in so many letters at most.
DRAWN_EVERY_S = 0.2
WIDEST = 100


@dataclass(frozen=True, slots=True)
class ProgramBounds:
    """What a program may take: so many seconds, and bytes in any file that it writes.

    It keeps the descriptors of `keeps` open, so that a lock lasts as long as who writes the file.
    `draw` is given what it tells of its progress, which is not kept then.
    """

    seconds: float
    written: int | None = None
    keeps: Sequence[int] = ()
    draw: Callable[[str], None] | None = None


def run_bounded(words: Sequence[str], who: str, bounds: ProgramBounds) -> str:
    """Run a program to its end, whatever happens to us; return its output; raises GatewayError."""
    try:
        child = subprocess.Popen(
            words,
            stdin=None if sys.stdin.isatty() else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=bounds.keeps,
        )
    except OSError as error:
        raise GatewayError(f"{words[0]}: cannot be run: {error.strerror}") from error
    with child:
        try:
            if bounds.written is not None:
                _limit(child.pid, bounds.written)
            output, complaint = _Heard(child, bounds).to_the_end(who)
        except BaseException:
            _end(child)
            raise
    if child.returncode:
        lines = complaint.decode(errors="replace").split("\n")
        raise GatewayError(f"{who} failed ({child.returncode}): {_first(lines)}")
    return output.decode(errors="replace")


def _limit(pid: int, written: int) -> None:
    """Limit the size of files that a program can write, before it has read from the other machine.

    Its own children inherit that.
    """
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    most = written if hard == resource.RLIM_INFINITY else min(written, hard)
    with contextlib.suppress(ProcessLookupError):  # it has ended
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


class _Heard:
    """What a child says, as it says it."""

    def __init__(self, child: subprocess.Popen[bytes], bounds: ProgramBounds) -> None:
        self._child = child
        self._bounds = bounds
        self._deadline = time.monotonic() + bounds.seconds
        self._drawn = 0.0

    def to_the_end(self, who: str) -> tuple[bytes, bytes]:
        """Return its output and its complaints; raises GatewayError beyond the bounds."""
        told = {self._child.stdout: bytearray(), self._child.stderr: bytearray()}
        with selectors.DefaultSelector() as selector:
            for stream in filter(None, told):
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(self._left(who))
                for key, _ in ready:
                    piece = os.read(key.fd, PIECE)
                    if not piece:
                        selector.unregister(key.fileobj)
                    elif self._bounds.draw and key.fileobj is self._child.stdout:
                        self._draw(piece)
                    else:
                        self._keep(told[key.fileobj], piece, who)  # type: ignore[index]
        try:
            self._child.wait(self._left(who))
        except subprocess.TimeoutExpired:
            self._left(who)
        return bytes(told[self._child.stdout]), bytes(told[self._child.stderr])

    def _left(self, who: str) -> float:
        if (left := self._deadline - time.monotonic()) <= 0:
            raise GatewayError(f"{who} did not end in {self._bounds.seconds:.0f} s, and was ended")
        return left

    def _draw(self, piece: bytes) -> None:
        now = time.monotonic()
        if self._bounds.draw and now - self._drawn >= DRAWN_EVERY_S:
            self._drawn = now
            last = piece.replace(b"\n", b"\r").strip(b"\r").rpartition(b"\r")[2]
            self._bounds.draw(sanitise(last.decode(errors="replace"), WIDEST))

    @staticmethod
    def _keep(kept: bytearray, piece: bytes, who: str) -> None:
        kept += piece
        if len(kept) > MOST_TOLD:
            raise GatewayError(f"{who} says more than {MOST_TOLD} bytes, and was ended")


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    for stream in filter(None, (child.stdout, child.stderr)):
        with contextlib.suppress(OSError):  # closed, so that it does not wait for us to read
            stream.close()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _first(lines: list[str]) -> str:
    """Return the first line that is one, of what another machine may have written."""
    line = next((line for line in lines if line.strip()), "it does not say why")
    return sanitise(line, 300)
