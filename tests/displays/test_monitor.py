"""The full screen in a real pseudo-terminal: what it shows, and how it gives that back."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import pytest

LEAVES_ALTERNATE_SCREEN = b"\x1b[?1049l"
ENTERS_ALTERNATE_SCREEN = b"\x1b[?1049h"

PRELUDE = """
import asyncio, signal, sys
from rhubarbe.displays.monitor import Monitor
from rhubarbe.events import Finished, NodeFailed, NodeSucceeded, Notice, Phase, Progress, Started

monitor = Monitor()
monitor.show(Started(command="load", nodes=tuple(f"fit{n:02}" for n in range(1, 13))))
monitor.show(Progress(node="fit01", percent=50.0))
monitor.tick()

def end(code):
    failed = NodeFailed(node="fit02", phase=Phase.RESET, reason="card is dead", last_line="")
    monitor.show(failed)
    monitor.show(Finished(command="load", good="1", bad="2", exit_code=code, seconds=3.0))
"""


class Terminal:
    """A pseudo-terminal with one program in it."""

    def __init__(self, program, rows=24, columns=80, term="xterm-256color", **options):
        self.outer, self.inner = os.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.inner)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        environment = os.environ | {"TERM": term}
        for name in ("LINES", "COLUMNS"):
            environment.pop(name, None)
        self.child = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + program],
            stdin=self.inner,
            stdout=self.inner,
            stderr=self.errors,
            env=environment,
            **({"start_new_session": True} | options),
        )

    def resize(self, rows, columns):
        fcntl.ioctl(self.outer, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.outer, text)

    def read_until(self, wanted, seconds=45):
        """Read until `wanted` has come since the last call, and return what came."""
        deadline = time.monotonic() + seconds
        came = b""
        while wanted not in came:
            left = max(0, deadline - time.monotonic())
            assert self.is_readable(left), f"{wanted!r} never came, but {came!r}"
            came += os.read(self.outer, 65536)
        return came

    def end(self):
        """Wait for the child's end; return its exit code, the rest of its output, its errors."""
        deadline = time.monotonic() + 45
        rest = b""
        while self.is_readable(0.02) or self.child.poll() is None:
            assert time.monotonic() < deadline, "the program does not end"
            rest += os.read(self.outer, 65536) if self.is_readable(0) else b""
        self.errors.seek(0)
        return self.child.wait(), rest, self.errors.read()

    def is_readable(self, seconds):
        return bool(select.select([self.outer], [], [], seconds)[0])

    def is_as_before(self):
        return termios.tcgetattr(self.inner) == self.before

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(45)
        self.errors.close()
        os.close(self.outer)
        os.close(self.inner)


@pytest.fixture
def terminal():
    opened = []

    def start(*args, **kwargs):
        opened.append(Terminal(*args, **kwargs))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def plain(output):
    """The output without escape sequences and line ends."""
    text = re.sub(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()].|[=>78])", b" ", output)
    return text.replace(b"\r", b"").decode(errors="replace")


WAIT = "\nsys.stdin.readline()\n"


def test_the_board_is_drawn_then_the_normal_screen_tells_the_end(terminal):
    tty = terminal(WAIT + "end(1)\nmonitor.tick()\nmonitor.close()\nmonitor.close()\nsys.exit(1)")
    drawn = tty.read_until(b"12 nodes: 1 busy, 11 waiting")
    assert ENTERS_ALTERNATE_SCREEN in drawn
    assert "fit12" in plain(drawn)
    assert not tty.is_as_before()  # the keys are not shown
    tty.type(b"\n")
    code, rest, errors = tty.end()
    assert (code, errors) == (1, b"")
    after = rest.partition(LEAVES_ALTERNATE_SCREEN)[2]
    assert [line.strip() for line in plain(after).splitlines() if line.strip(" >")] == [
        "fit02: FAILED in reset: card is dead",
        "good: 1",
        "bad: 2",
        "rhubarbe-load: FAILED on 1 of 2 nodes in 3 s",
    ]
    assert tty.is_as_before()


def test_an_exception_between_ticks(terminal):
    tty = terminal("\ntry:\n    raise RuntimeError('a bug')\nfinally:\n    monitor.close()")
    code, rest, errors = tty.end()
    assert code == 1
    assert LEAVES_ALTERNATE_SCREEN in rest
    assert b"RuntimeError: a bug" in errors
    assert tty.is_as_before()


def test_an_exception_while_drawing_gives_the_terminal_back_by_itself(terminal):
    tty = terminal("\nmonitor._board = None\nmonitor.tick()")
    code, rest, errors = tty.end()
    assert code == 1
    assert LEAVES_ALTERNATE_SCREEN in rest
    assert b"AttributeError" in errors
    assert tty.is_as_before()


RUNTIME = """
async def run():
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    monitor.show(Notice(text="ready to be stopped"))
    try:
        while True:
            monitor.tick()
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        end(1)
    finally:
        monitor.close()

asyncio.run(run())
sys.exit(1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_cancels_the_command(terminal, number):
    tty = terminal(RUNTIME)
    tty.read_until(b"ready to be stopped")
    tty.child.send_signal(number)
    code, rest, errors = tty.end()
    assert (code, errors) == (1, b"")
    assert b"rhubarbe-load: FAILED on 1 of 2" in rest.partition(LEAVES_ALTERNATE_SCREEN)[2]
    assert tty.is_as_before()


def test_the_board_follows_the_size_of_the_window(terminal):
    tty = terminal(RUNTIME)
    tty.read_until(b"ready to be stopped")
    tty.resize(5, 30)
    narrow = tty.read_until(b"12 nodes: 1 busy, 11 waiting")
    assert "… and 11 more: 11 waiting" in plain(narrow)
    tty.resize(30, 100)
    tty.read_until(b"fit12")
    tty.resize(1, 1)
    tty.resize(24, 80)
    tty.child.send_signal(signal.SIGTERM)
    code, _, errors = tty.end()
    assert (code, errors) == (1, b"")
    assert tty.is_as_before()


def test_a_terminal_that_is_stopped_holds_nothing_up(terminal):
    tty = terminal("""
import time
sys.stdin.readline()
for number in range(3000):
    monitor.show(Notice(text=f"notice {number}"))
    monitor.tick()
end(0)
monitor.outlet.grace.shorten(0.2)
monitor.close()
""")
    tty.read_until(b"11 waiting")
    tty.type(b"\n")
    termios.tcflow(tty.inner, termios.TCOOFF)
    assert tty.child.wait(20) == 0
    assert tty.is_as_before()


def test_stopped_by_the_user_the_terminal_is_given_back_meanwhile(terminal):
    tty = terminal(RUNTIME, start_new_session=False, process_group=0)
    tty.read_until(b"ready to be stopped")
    tty.child.send_signal(signal.SIGTSTP)
    tty.read_until(LEAVES_ALTERNATE_SCREEN)
    assert os.WIFSTOPPED(os.waitpid(tty.child.pid, os.WUNTRACED)[1])
    assert tty.is_as_before()
    tty.child.send_signal(signal.SIGCONT)
    again = tty.read_until(b"ready to be stopped")
    assert ENTERS_ALTERNATE_SCREEN in again
    assert b"11 waiting" in again
    assert not tty.is_as_before()
    tty.child.send_signal(signal.SIGTERM)
    assert tty.end()[0] == 1
    assert tty.is_as_before()


@pytest.mark.parametrize(("rows", "columns"), [(10, 40), (2, 5), (1, 1)])
def test_small_windows(terminal, rows, columns):
    tty = terminal("\nmonitor.tick()\nend(0)\nmonitor.close()\n", rows=rows, columns=columns)
    code, rest, errors = tty.end()
    assert (code, errors) == (0, b"")
    assert b"rhubarbe-load" in rest.partition(LEAVES_ALTERNATE_SCREEN)[2]
    assert tty.is_as_before()


def test_pending_keys_hold_nothing_back_and_are_left_to_the_shell(terminal):
    tty = terminal("""
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
monitor.show(Notice(text="ready for keys"))
monitor.tick()
signal.sigwait({signal.SIGUSR1})
for number in range(1, 13):
    monitor.show(NodeSucceeded(node=f"fit{number:02}", seconds=1.0))
monitor.tick()
signal.sigwait({signal.SIGUSR1})
monitor.close()
""")
    tty.read_until(b"ready for keys")
    tty.type(b"ls\n")
    tty.child.send_signal(signal.SIGUSR1)
    tty.read_until(b"2 done")  # the end of "12 nodes: 12 done", below all the nodes
    tty.child.send_signal(signal.SIGUSR1)
    assert tty.end()[0] == 0
    assert os.read(tty.inner, 10) == b"ls\n"


def test_the_signals_are_given_back(terminal):
    tty = terminal("""
monitor.close()
for line in open("/proc/self/status"):
    if line.startswith("SigCgt"):
        caught = int(line.split()[1], 16)
for number in (signal.SIGTERM, signal.SIGTSTP, signal.SIGWINCH):
    assert not caught >> (number - 1) & 1, number
""")
    code, _, errors = tty.end()
    assert (code, errors) == (0, b"")


@pytest.mark.parametrize("term", ["dumb", "no-such-terminal", ""])
def test_a_terminal_that_cannot_be_drawn_on(terminal, term):
    tty = terminal("", term=term)
    code, rest, errors = tty.end()
    assert code == 1
    assert b"NoTerminal: a terminal of type" in errors
    assert rest == b""
    assert tty.is_as_before()


def test_no_terminal_at_all():
    done = subprocess.run([sys.executable, "-c", PRELUDE], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"NoTerminal: standard output is not a terminal" in done.stderr
    assert done.stdout == b""
