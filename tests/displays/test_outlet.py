"""Streams that nobody reads: a pipe, a stopped terminal, a full disk; nothing waits for them."""

import errno
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from rhubarbe.displays.outlet import Outlet, say
from rhubarbe.displays.writer import Grace

PIPE_SIZE = 4096
LINE = "x" * 99 + "\n"
# What a test waits for at most; what must come at once comes in much less.
SOON = 10.0


@pytest.fixture
def pipe():
    """A small pipe: the end that is read, and a stream at the other."""
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    stream = os.fdopen(into, "w", encoding="utf-8")
    yield out, stream
    os.close(out)
    stream.close()


@pytest.fixture
def terminal():
    """A terminal that is stopped: its outer end, and a stream in it."""
    outer, inner = pty.openpty()
    stream = os.fdopen(inner, "w", encoding="utf-8")
    termios.tcflow(inner, termios.TCOOFF)
    yield outer, stream
    termios.tcflow(inner, termios.TCOON)
    # It is read meanwhile, so that the end need not be waited for.
    os.close(outer)
    stream.close()


def read_all(descriptor, wanted):
    """Read lines until one has `wanted` in it."""
    came = b""
    deadline = time.monotonic() + SOON
    while wanted.encode() not in came.rpartition(b"\n")[0]:
        left = max(0, deadline - time.monotonic())
        assert select.select([descriptor], [], [], left)[0], came[-200:]
        came += os.read(descriptor, 65536)
    return came.decode().replace("\r\n", "\n").splitlines()


def wait_until(condition):
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def within(seconds, work):
    """Do work in a thread, and fail if it does not end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for who does not read"


def test_a_pipe_that_is_not_read_holds_nobody_up_and_gets_all_in_the_end(pipe):
    out, stream = pipe
    outlet = Outlet(stream)
    within(SOON, lambda: [outlet.write(f"{number} {LINE}") for number in range(1000)])
    outlet.write("the end\n")
    lines = read_all(out, "the end")
    assert lines == [*(f"{number} {LINE}".strip() for number in range(1000)), "the end"]
    outlet.end()
    assert outlet.failure is None


def test_the_oldest_lines_are_dropped_and_the_reader_is_told_how_many(pipe):
    out, stream = pipe
    outlet = Outlet(stream, most=10_000)
    total = 1000
    within(SOON, lambda: [outlet.write(f"{number:03} {LINE}") for number in range(total)])
    outlet.write("the end\n")
    lines = read_all(out, "the end")
    outlet.end()
    told = [int(line.split()[0]) for line in lines if "missing" in line]
    assert lines.count(f"{told[0]} lines are missing here: they could not be written in time") == 1
    numbers = [int(line[:3]) for line in lines[:-1] if "missing" not in line]
    assert numbers == sorted(numbers)
    assert len(numbers) == total - sum(told) < total
    assert numbers[-1] == total - 1
    assert outlet.is_incomplete


def test_one_huge_text_is_kept_and_whole(pipe):
    out, stream = pipe
    outlet = Outlet(stream, most=100)
    outlet.write(LINE * 200 + "the end\n")
    assert len(read_all(out, "the end")) == 201
    assert outlet.failure is None


def test_a_stopped_terminal_holds_nobody_up_and_shows_the_rest_when_it_goes_on(terminal):
    outer, stream = terminal
    outlet = Outlet(stream, most=10_000)
    within(SOON, lambda: [outlet.write(LINE) for _ in range(1000)])
    outlet.grace = Grace(0.1, 0.1)
    termios.tcflow(stream.fileno(), termios.TCOON)
    outlet.write("the end\n")
    lines = read_all(outer, "the end")
    told = [int(line.split()[0]) for line in lines if "missing here" in line]
    assert lines.count(LINE.strip()) == 1000 - sum(told) < 1000


def test_the_end_waits_within_our_patience_for_who_does_not_read(pipe):
    _, stream = pipe
    outlet = Outlet(stream)
    outlet.grace = Grace(0.2, 0.4)
    outlet.write(LINE * 1000)
    outlet.end()
    assert "it is not read" in str(outlet.failure)
    assert outlet.is_incomplete


def test_the_end_waits_as_long_as_something_is_read(pipe):
    out, stream = pipe
    outlet = Outlet(stream)
    outlet.grace = Grace(still_s=1.0, total_s=30.0)
    outlet.write(LINE * 300 + "the end\n")
    slow = threading.Thread(target=read_slowly, args=(out,))
    slow.start()
    outlet.end()
    slow.join(SOON)
    assert outlet.failure is None


def read_slowly(descriptor):
    came = b""
    while b"the end" not in came:
        came += os.read(descriptor, 4096)
        time.sleep(0.15)


def test_patience_may_be_shortened_while_somebody_waits(pipe):
    _, stream = pipe
    outlet = Outlet(stream)
    outlet.grace = Grace(600, 600)
    outlet.write(LINE * 1000)
    ended = threading.Thread(target=outlet.end, daemon=True)
    ended.start()
    outlet.grace.shorten(0.1)
    ended.join(SOON)
    assert not ended.is_alive()


def test_a_disk_that_is_full_for_a_while_gets_what_comes_later(tmp_path, monkeypatch):
    path = tmp_path / "out"
    write, full = os.write, threading.Event()
    full.set()

    def limited(descriptor, content):
        if os.path.sameopenfile(descriptor, stream.fileno()) and full.is_set():
            if len(content) > 10:
                return write(descriptor, content[:10])  # what there still was room for
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content)

    with path.open("w") as stream:
        monkeypatch.setattr(os, "write", limited)
        outlet = Outlet(stream)
        outlet.write("one line, of which a part is written\n")
        wait_until(lambda: outlet.failure)
        full.clear()
        outlet.write("another\n")
        outlet.end()
    lines = path.read_text().splitlines()
    assert lines[-2:] == ["1 line is missing here: No space left on device", "another"]
    assert outlet.is_incomplete


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(pipe):
    out, stream = pipe
    os.set_blocking(stream.fileno(), False)
    outlet = Outlet(stream)
    outlet.write(LINE * 300 + "the end\n")
    assert len(read_all(out, "the end")) == 301
    outlet.end()
    assert outlet.failure is None


def test_the_descriptor_stays_as_the_shell_had_it(pipe):
    _, stream = pipe
    outlet = Outlet(stream)
    outlet.write(LINE * 300)
    assert os.get_blocking(stream.fileno())


def test_a_last_word_waits_but_a_moment(pipe):
    _, stream = pipe
    os.write(stream.fileno(), b"x" * PIPE_SIZE)
    within(SOON, lambda: say(stream, "nobody hears this"))


PROGRAM = """
import os, sys
sys.stdout.write("first\\n")
from rhubarbe.displays.outlet import Outlet
outlet = Outlet(sys.stdout)
outlet.grace.shorten(0.3)
outlet.write("x" * 100_000)
outlet.end()
print(outlet.is_incomplete, file=sys.stderr)
sys.exit(3)
"""


def test_a_process_ends_well_whatever_its_reader_does(pipe):
    _, stream = pipe
    child = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", PROGRAM], stdout=stream, stderr=subprocess.PIPE
    )
    errors = child.communicate(timeout=SOON * 3)[1]
    assert (child.returncode, errors) == (3, b"True\n")


def test_a_reader_that_was_stopped_gets_all_when_it_is_continued(tmp_path, pipe):
    out, stream = pipe
    copy = tmp_path / "copy"
    with copy.open("wb") as file:
        reader = subprocess.Popen(["cat"], stdin=out, stdout=file)
    reader.send_signal(signal.SIGSTOP)
    outlet = Outlet(stream, most=20_000)
    within(SOON, lambda: [outlet.write(LINE) for _ in range(1000)])
    reader.send_signal(signal.SIGCONT)
    outlet.write("the end\n")
    outlet.end()
    stream.close()
    wait_until(lambda: "the end" in copy.read_text())
    reader.kill()
    reader.wait()
    told = [int(line.split()[0]) for line in copy.read_text().splitlines() if "missing" in line]
    assert copy.read_text().count("x\n") == 1000 - sum(told) < 1000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_once_and_holds_nobody_up():
    with Path("/dev/full").open("w") as stream:
        outlet = Outlet(stream)
        within(SOON, lambda: [outlet.write(LINE) for _ in range(100)])
        outlet.end()
        assert outlet.failure.errno == errno.ENOSPC


def test_a_disk_that_hangs_in_closing_is_given_up(tmp_path, monkeypatch):
    hangs = threading.Event()
    close = os.close

    def slow(descriptor):
        if threading.current_thread().name == "writer":
            assert hangs.wait(SOON * 2)
        close(descriptor)

    outlet = Outlet((tmp_path / "log").open("w"), owned=True)
    outlet.grace = Grace(0.1, 0.1)
    monkeypatch.setattr(os, "close", slow)
    outlet.write(LINE)
    outlet.end()
    assert outlet.is_incomplete
    assert (tmp_path / "log").read_text() == LINE
    assert not hangs.is_set()
    hangs.set()


def test_signals_are_the_main_thread_s(pipe):
    _, stream = pipe
    before = set(threading.enumerate())
    outlet = Outlet(stream)
    (writer,) = set(threading.enumerate()) - before
    status = Path(f"/proc/self/task/{writer.native_id}/status").read_text()
    blocked = int(next(line for line in status.splitlines() if "SigBlk" in line).split()[1], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        assert blocked >> (number - 1) & 1
    outlet.end()
