"""The programs of this machine that a build runs: where they are, and one run of each."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rhubarbe.netboot.errors import MissingProgram, ProgramFailed

PACKAGES = {"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg"}


def find(name: str) -> str:
    """Return the path of a program, looked for in the sbin directories too.

    Raises MissingProgram, which names the Debian package.
    """
    places = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    found = shutil.which(name, path=places)
    if found is None:
        package = PACKAGES.get(name, name)
        raise MissingProgram(f"{name} is not installed (Debian's package {package})")
    return found


def run(
    arguments: Sequence[str],
    *,
    limit: float = 300,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> str:
    """Run a program to its end, and return its output; `limit` is in seconds, `text` its input.

    Raises ProgramFailed with the line that says most: the first that begins with E:, as apt's
    errors do, or the last.
    """
    return _run(arguments, limit, text, environment or {}, directory).stdout


def complaints(
    arguments: Sequence[str], text: str, environment: Mapping[str, str], directory: Path
) -> list[str]:
    """Run a program whose exit status tells nothing, and return the lines of its errors.

    Raises ProgramFailed.
    """
    return _run(arguments, 300, text, environment, directory).stderr.splitlines()


def _run(
    arguments: Sequence[str],
    limit: float,
    text: str,
    environment: Mapping[str, str],
    directory: Path | None,
) -> subprocess.CompletedProcess[str]:
    name = Path(arguments[0]).name
    surroundings = os.environ | {"LC_ALL": "C.UTF-8"} | dict(environment)
    try:
        with _started(arguments, surroundings, directory) as process:
            said, errors = process.communicate(text, timeout=limit)
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{name} did not end within {limit:.0f} s") from None
    except OSError as error:
        raise ProgramFailed(f"cannot run {arguments[0]}: {error.strerror}") from error
    if process.returncode:
        raise ProgramFailed(f"{name} ended with {process.returncode}: {_cause(errors)}")
    return subprocess.CompletedProcess(arguments, 0, said, errors)


@contextmanager
def _started(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path | None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program for the length of the block at most, whatever ends the block."""
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        with _held_signals():
            process = subprocess.Popen(
                arguments,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                text=True,
                errors="replace",
                env=environment,
                cwd=directory,
            )
            stack.callback(_end, process)
        yield process


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for each in (process.stdin, process.stdout, process.stderr):
        if each is not None:
            with suppress(BrokenPipeError):  # what it did not read before it ended
                each.close()


@contextmanager
def _held_signals() -> Iterator[None]:
    """Hold signals back: in the middle of its start they would leave a program without an owner."""
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


def _cause(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no word"]
    return next((line for line in lines if line.startswith("E:")), lines[-1])
