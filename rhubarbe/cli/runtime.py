"""One command from start to end: loop, signals, displays, log, and the exit code.

Whatever way a command ends (well, by its time limit, by SIGINT, SIGTERM or SIGHUP, by an error),
the operation is left to clean up, then the displays get the last events and are closed. Only then
does the command wait, for a moment, until its output is read.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from rhubarbe.bus import Bus
from rhubarbe.displays.display import Display
from rhubarbe.displays.errors import NoTerminal
from rhubarbe.displays.logfile import LogFile
from rhubarbe.displays.outlet import Outlet, say
from rhubarbe.displays.report import Report
from rhubarbe.displays.writer import Grace
from rhubarbe.errors import GatewayError, RhubarbeError, why
from rhubarbe.events import Event, Notice
from rhubarbe.shared.directory import is_directory
from rhubarbe.shared.own import open_own

LOG = "rhubarbe.log"
TICK_EVERY_S = 0.25
# Seconds to wait until the rest of the output is read, once a signal has come.
AFTER_SIGNAL_S = 0.5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Operation = Callable[[Bus], Coroutine[Any, Any, None]]


def run_command(
    operation: Operation,
    *,
    curses: bool,
    json: bool,
    verbose: bool = False,
    report: str | None = None,
    window: Callable[[], Display] | None = None,
) -> int:
    """Run an operation under the chosen display; return the exit code.

    The display is `window` where that is given, and neither a screen nor JSON is asked for. The
    outcome is also written into the file `report`.
    """
    # Until the loop has its handlers, these signals would kill us by their default action.
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _interrupt)
    with contextlib.ExitStack() as stack:
        displays: list[Display] = []
        notices = [
            Notice(text=text)
            for text in (
                _add_display(displays, window or _bar(verbose=verbose), curses=curses, json=json),
                _add_log(displays),
            )
            if text
        ]
        for display in displays:
            stack.callback(display.close)
        if report is not None:
            displays.append(stack.enter_context(_reporting(Path(report))))
        code = asyncio.run(_Command(displays, notices).run(operation))
        _complain("log", displays[1:])
        return _complain("output", displays[:1]) or code


def _complain(what: str, displays: Sequence[Display]) -> int:
    """Say what output was lost, if its reader is still there; return that exit code, or 0."""
    code = 0
    for outlet in _outlets(displays):
        if outlet.is_incomplete and outlet.failure is not None:
            say(sys.stderr, f"the {what} cannot be written: {why(outlet.failure)}")
            code = 1
    return code


def _outlets(displays: Sequence[Display]) -> Iterator[Outlet]:
    for display in displays:
        yield from display.outlets


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[Report]:
    """Write a report in the end, also of a command that could not begin."""
    if not is_directory(path.parent):
        raise GatewayError(f"{path.parent}: no such directory for the report; nothing was touched")
    report = Report(path)
    try:
        yield report
    except RhubarbeError as error:
        report.fail(str(error))
        raise
    finally:
        try:
            report.write()
        except OSError as error:
            raise GatewayError(f"{path}: the report cannot be written: {why(error)}") from error


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """Ignore a late ^C: the command is over, and its result stands."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _bar(*, verbose: bool) -> Callable[[], Display]:
    """Return what opens the usual display, whose library is imported no sooner."""

    def window() -> Display:
        from rhubarbe.displays.bar import Bar

        return Bar(sys.stdout, verbose=verbose)

    return window


def _add_display(
    displays: list[Display], window: Callable[[], Display], *, curses: bool, json: bool
) -> str | None:
    """Open the display that was asked for; return what there is to say about it."""
    if json:
        from rhubarbe.displays.jsonlines import JsonLines

        displays.append(JsonLines(sys.stdout))
        return None
    if curses:
        from rhubarbe.displays.monitor import Monitor

        try:
            displays.append(Monitor())
        except NoTerminal as error:
            displays.append(window())
            return f"no full screen: {error}"
        return None
    displays.append(window())
    return None


def _add_log(displays: list[Display]) -> str | None:
    """Open the log, here or else at home; return what there is to say about it."""
    for path in (Path(LOG), Path.home() / LOG):
        with contextlib.suppress(OSError):
            displays.append(LogFile(_open_log(path)))
            return None
    return f"no log: {LOG} can be written neither here nor at home"


def _open_log(path: Path) -> TextIO:
    # Never a file or link that somebody else may have laid there.
    descriptor = open_own(path, os.O_WRONLY | os.O_APPEND, 0o644)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="replace", buffering=1)


class _Command:
    """The loop's side of a command."""

    def __init__(self, displays: Sequence[Display], notices: Sequence[Event]) -> None:
        self._displays = displays
        self._notices = notices
        self._signal: signal.Signals | None = None
        self._grace = Grace()
        for outlet in _outlets(displays):
            outlet.grace = self._grace

    async def run(self, operation: Operation) -> int:
        bus = Bus()
        events = bus.subscribe()
        # The one task outside a TaskGroup: it must outlive the operation, to show its last events.
        follower = asyncio.Task(self._follow(events), name="displays")
        try:
            with self._signals():
                for notice in self._notices:
                    bus.report(notice)
                await operation(bus)
        except asyncio.CancelledError:
            if self._signal is None:
                raise
        finally:
            self._hurry_at_signals()
            bus.close()
            await follower
            _ignore_signals()
        # A signal that came after the outcome was told changes nothing of it.
        return 1 if bus.finished is None else bus.finished.exit_code

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Cancel the operation at the first signal; later ones must not disturb its cleaning up."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def interrupted(number: signal.Signals) -> None:
            if self._signal is None and main is not None:
                self._signal = number
                self._grace.shorten(AFTER_SIGNAL_S)
                main.cancel()

        for number in SIGNALS:
            loop.add_signal_handler(number, interrupted, number)
        yield

    def _hurry_at_signals(self) -> None:
        """Have a late signal only shorten the wait until the output is read."""
        loop = asyncio.get_running_loop()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, lambda *_: self._grace.shorten(AFTER_SIGNAL_S))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    async def _follow(self, events: AsyncIterator[Event]) -> None:
        ticker = asyncio.get_running_loop().create_task(self._tick(), name="ticks")
        try:
            async for event in events:
                for display in self._displays:
                    display.show(event)
        finally:
            ticker.cancel()
            for display in self._displays:
                display.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_EVERY_S)
            for display in self._displays:
                display.tick()
