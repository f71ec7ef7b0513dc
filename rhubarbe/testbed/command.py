"""`rhubarbe-testbed`: run an emulated testbed, alone or for the length of one command."""

import argparse
import asyncio
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.annexe.errors import AnnexeError, Misused
from rhubarbe.testbed import options
from rhubarbe.testbed.options import NAME
from rhubarbe.text import sanitise

if TYPE_CHECKING:  # --help, of which the manual pages are made, needs no library
    from rhubarbe.testbed.site import Plan

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is the command's, or 0, or 1 or 2 when the testbed fails."""
    ours, command = _split(list(sys.argv[1:] if argv is None else argv))
    arguments = options.parse(ours)
    _many_descriptors()
    _watch_children_without_threads()
    try:
        with _directory(arguments.directory, command) as directory:
            return asyncio.run(_serve(options.plan(arguments, directory), arguments, command))
    except AnnexeError as error:
        print(f"{NAME}: {sanitise(str(error))}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{NAME}: {sanitise(str(error))}", file=sys.stderr)
        return 1
    except ExceptionGroup as errors:  # of several machines, all of which say the same
        print(f"{NAME}: {sanitise(str(_one_of_the_system_s(errors)))}", file=sys.stderr)
        return 1


def _one_of_the_system_s(errors: ExceptionGroup) -> Exception:
    """Return one of errors that are all the system's, as what it lacks; else raise them."""
    if errors.split(OSError)[1] is not None:
        raise errors
    error: Exception = errors
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Our own words, and those of the command after `--`."""
    if "--" not in words:
        return words, []
    where = words.index("--")
    return words[:where], words[where + 1 :]


@contextmanager
def _directory(given: Path | None, command: list[str]) -> Iterator[Path]:
    if given is not None:
        yield given
    elif command:
        with tempfile.TemporaryDirectory(prefix="rhubarbe-testbed-") as name:
            yield Path(name)
    else:
        raise Misused("name a --directory, or a command after --")


def _many_descriptors() -> None:
    """Allow ourselves all the descriptors that we may have: each node takes a few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _watch_children_without_threads() -> None:
    if sys.version_info < (3, 12):  # later versions do so by themselves
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())


async def _serve(plan: "Plan", arguments: argparse.Namespace, command: list[str]) -> int:
    """Serve until a signal, or for as long as the command runs."""
    from rhubarbe.testbed.farm import Farm

    signals = _Signals()
    try:
        async with Farm(plan, options.kind(arguments)) as farm:
            if command:
                return await _run(command, farm.directory, signals)
            signals.interrupts = False
            print(
                f"{NAME}: {len(plan.numbers)} {farm.kind.noun} serve in {farm.directory}",
                flush=True,
            )
            await signals.came.wait()
            return 0
    except asyncio.CancelledError:
        return 1 if command else 0


class _Signals:
    """What a signal does: it ends the start, later the testbed, or goes to the command."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.interrupts = True
        self._task = asyncio.current_task()
        self._child: asyncio.subprocess.Process | None = None
        self._kept: list[signal.Signals] = []
        for number in ENDS:
            asyncio.get_running_loop().add_signal_handler(number, self._receive, number)

    def send_to(self, child: asyncio.subprocess.Process) -> None:
        """Send to the command what came since it was about to start, and what comes."""
        self._child = child
        for number in self._kept:
            self._pass_on(number)

    def _receive(self, number: signal.Signals) -> None:
        self.came.set()
        if self.interrupts and self._task is not None:
            self.interrupts = False  # the way out is not interrupted again
            self._task.cancel()
        elif self._child is None:
            self._kept.append(number)
        else:
            self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        if self._child is not None and number is not signal.SIGINT:  # the terminal sends it to both
            with suppress(ProcessLookupError):
                self._child.send_signal(number)


async def _run(command: list[str], directory: Path, signals: _Signals) -> int:
    """Run the command in the terminal's foreground; ^C is its own business, and so is its end."""
    binaries = str(Path(sys.executable).parent)
    environment = os.environ | {
        "RHUBARBE_CONF": str(directory / "rhubarbe.conf"),
        "PATH": f"{binaries}:{os.environ.get('PATH', os.defpath)}",
    }
    signals.interrupts = False
    try:
        child = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as error:
        print(f"{NAME}: cannot run {sanitise(command[0])}: {error.strerror}", file=sys.stderr)
        return 127
    signals.send_to(child)
    status = await child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
