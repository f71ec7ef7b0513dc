"""A program that runs to its end, within the time that its caller gives it, and leaves nothing."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from rhubarbe.concurrency.threads import in_passing

# What each pipe holds, so that it can be written before somebody reads.
MOST_TYPED = 4096
KILLED_WITHIN_S = 2.0
# How long to read on once it has ended: what is in a session of its own may hold its output open.
LAST_WORDS_S = 1.0


class Flood(OSError):
    """A program is to read, or writes, more than is reasonable."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and what it wrote; a negative status is the signal that ended it."""

    status: int
    output: bytes
    complaint: bytes


async def run_program(
    words: Sequence[str],
    *,
    most: int,
    typed: bytes = b"",
    environ: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Ended:
    """Run a program, without a shell, that reads what is `typed`; raises OSError, Flood.

    On every way out, its own end and cancellation among them, all that it has started is killed:
    that would hold its output open, and we would wait for it.
    """
    # Not asyncio's own, which may be cancelled before it tells whom to kill.
    process = _started(words, typed, environ, pass_fds)
    try:
        async with _heard(process.stdout, most) as output, _heard(process.stderr, most) as errors:
            await _ended(process.pid)
            _kill(process)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await output.over.wait()
                    await errors.over.wait()
            said = bytes(output.said), bytes(errors.said)
        status = process.wait()
    finally:
        await _end(process)
    if any(len(each) > most for each in said):
        raise Flood(f"writes more than {most} bytes")
    return Ended(status, *said)


def _started(
    words: Sequence[str],
    typed: bytes,
    environ: Mapping[str, str] | None,
    pass_fds: Sequence[int],
) -> subprocess.Popen[bytes]:
    with _pipe_with(typed) as stdin:
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            pass_fds=pass_fds,
            start_new_session=True,
        )


@contextlib.contextmanager
def _pipe_with(typed: bytes) -> Iterator[IO[bytes]]:
    """Yield the end of a pipe from which this can be read, and nothing after it."""
    if len(typed) > MOST_TYPED:
        raise Flood(f"cannot be told more than {MOST_TYPED} bytes")
    ends = os.pipe()
    with open(ends[0], "rb", buffering=0) as out:  # noqa: PTH123 - a pipe
        with open(ends[1], "wb", buffering=0) as into:  # noqa: PTH123 - a pipe
            into.write(typed)
        yield out


async def _ended(pid: int) -> None:
    """Wait until a child has ended; it is not reaped, so that its number remains its own."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    descriptor = os.pidfd_open(pid)
    try:
        loop.add_reader(descriptor, over.set)
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program that is not reaped yet, and of what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it may be another user's
        os.killpg(process.pid, signal.SIGKILL)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that has not ended by itself, with what it has started."""
    for stream in filter(None, (process.stdout, process.stderr)):
        stream.close()
    if process.returncode is None:  # its number, and that of its group, are still its own
        _kill(process)
        with contextlib.suppress(TimeoutError):  # it waits for a disk
            await in_passing(KILLED_WITHIN_S, process.wait)


class _Heard(asyncio.Protocol):
    """What a program writes; once it is too much, nothing is read any more."""

    def __init__(self, most: int) -> None:
        self.over = asyncio.Event()
        self.said = bytearray()
        self._most = most
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know what to close."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep a piece, unless there is enough of it."""
        self.said += data
        if len(self.said) > self._most and self._transport:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end."""
        self.over.set()


@contextlib.asynccontextmanager
async def _heard(stream: IO[bytes] | None, most: int) -> AsyncIterator[_Heard]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_read_pipe(lambda: _Heard(most), stream)
    try:
        yield protocol
    finally:
        transport.close()
