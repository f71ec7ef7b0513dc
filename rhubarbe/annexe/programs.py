"""Programs of this machine: where they are, and one run of each, bounded in time and in words."""

import os
import select
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MOST_SAID = 64 << 20
"""Bytes that a program may say, unless its caller says otherwise."""

GRACE_S = 10
"""How long a program may take to end once it has closed what it writes to."""

_ADMIN_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_PART = 64 << 10


class TookTooLong(Exception):
    """A program has not ended in time, and was killed."""


class SaidTooMuch(Exception):
    """A program says more than is read of it, and was killed."""


@dataclass(frozen=True, slots=True)
class EndedProgram:
    """A program that has ended: its status, negative for a signal, and all that it said."""

    status: int
    output: bytes
    errors: bytes


def locate(name: str) -> str | None:
    """Return the path of a program, looked for where the administrator's are, too."""
    return shutil.which(name) or shutil.which(name, path=_ADMIN_PATH)


def last_line(said: bytes | str) -> str:
    """Return the last line that says something, of what a program said before it ended."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return (text.strip().splitlines() or ["no word"])[-1]


def run(
    arguments: Sequence[str],
    *,
    limit_s: float,
    most_said: int = MOST_SAID,
    text: bytes = b"",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> EndedProgram:
    """Run a program to its end; `text` is its input, `environment` is added to ours.

    Raises OSError where it cannot be run, TookTooLong, and SaidTooMuch. However this is left, the
    program has ended.
    """
    deadline = time.monotonic() + limit_s
    with _started(arguments, os.environ | dict(environment or {}), directory) as process:
        output, errors = _talk(process, text, deadline, most_said)
        try:
            status = process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            raise TookTooLong("does not end") from None
    return EndedProgram(status, output, errors)


@contextmanager
def _started(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of the block at most, whatever ends the block."""
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        with _held_signals():
            process = subprocess.Popen(
                arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd=directory
            )
            stack.callback(_end, process)
        yield process


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for each in (process.stdin, process.stdout, process.stderr):
        if each is not None:
            each.close()


def _talk(
    process: subprocess.Popen[bytes], text: bytes, deadline: float, most: int
) -> tuple[bytes, bytes]:
    """Give the program its input, and return what it writes, once it has closed both streams."""
    given, output, errors = process.stdin, process.stdout, process.stderr
    assert given and output and errors  # noqa: S101 - for type checkers
    heard = {output.fileno(): bytearray(), errors.fileno(): bytearray()}
    listening = set(heard)
    with selectors.DefaultSelector() as selector:
        for number in listening:
            selector.register(number, selectors.EVENT_READ)
        selector.register(given, selectors.EVENT_WRITE)
        rest = memoryview(text)
        while listening:
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                raise TookTooLong("has not ended in time")
            for key, _ in ready:
                if key.fileobj is given:
                    rest = _give(selector, given, rest)
                elif part := os.read(key.fd, _PART):
                    heard[key.fd] += part
                else:
                    selector.unregister(key.fd)
                    listening.discard(key.fd)
            if sum(map(len, heard.values())) > most:
                raise SaidTooMuch(f"says more than {most >> 20} MiB")
    said, complained = heard.values()
    return bytes(said), bytes(complained)


def _give(selector: selectors.BaseSelector, stream: IO[bytes], rest: memoryview) -> memoryview:
    """Write what fits into a pipe, and close that after the last; return what is left."""
    try:
        rest = rest[os.write(stream.fileno(), rest[: select.PIPE_BUF]) :]
    except BrokenPipeError:  # it ends without having read all
        rest = rest[:0]
    if not rest:
        selector.unregister(stream)
        stream.close()
    return rest


@contextmanager
def _held_signals() -> Iterator[None]:
    """Hold signals back: in the middle of its start they would leave a program without an owner."""
    if threading.current_thread() is not threading.main_thread():  # signals come there only
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {
        number: signal.signal(number, lambda each, frame: came.append(each)) for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for each in came:
        signal.raise_signal(each)
