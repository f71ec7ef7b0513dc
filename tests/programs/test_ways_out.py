"""Every way out of a command: no link, no child, no image under a final name, exit code 1."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from emulated import BIN, events, wait_for_event

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    from emulated import start_testbed

    testbed = start_testbed(tmp_path_factory.mktemp("slow"), "--nodes", "4", "--boot-time", "1")
    yield testbed
    testbed.end()


def children(pid):
    """Return the processes that a process started, and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def is_running(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def gone_within(pids, seconds):
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [pid for pid in pids if is_running(pid)]


def assert_left_nothing(testbed, process, pids):
    assert process.returncode == 1
    assert testbed.links() == []
    assert gone_within(pids, 10) == []


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("phase", ["reset", "ramdisk", "image"])
def test_load_interrupted(slow, number, phase):
    process = slow.start("rhubarbe-load", "--json", "-b", "1", "1-2", stderr=subprocess.DEVNULL)
    for event in iter(lambda: wait_for_event(process, "PhaseStarted"), None):
        if event["phase"] == phase:
            break
    if phase == "image":
        wait_for_event(process, "ImageServed")
    pids = children(process.pid)
    process.send_signal(number)
    rest = events(process.communicate(timeout=20)[0])
    assert rest[-1]["event"] == "Finished"
    assert (rest[-1]["good"], rest[-1]["bad"]) == ("", "1-2")
    assert_left_nothing(slow, process, pids)
    if phase == "image":
        assert pids, "a load that serves an image has a child"


@pytest.mark.parametrize("number", SIGNALS)
def test_save_interrupted(slow, number):
    process = slow.start("rhubarbe-save", "--json", "3", "-o", "cut", stderr=subprocess.DEVNULL)
    wait_for_event(process, "CollectorReady")
    for event in iter(lambda: wait_for_event(process, "PhaseStarted"), None):
        if event["phase"] == "image":
            break
    process.send_signal(number)
    process.communicate(timeout=20)
    assert_left_nothing(slow, process, [])
    assert not (slow.directory / "cut.ndz").exists()
    refused = slow.run("rhubarbe-load", "-i", "cut", "3")
    assert refused.returncode == 1
    (slow.directory / "cut.ndz.partial").unlink(missing_ok=True)


@pytest.mark.parametrize("number", SIGNALS)
def test_wait_interrupted(slow, tmp_path, number):
    conf = tmp_path / "rhubarbe.conf"
    text = (slow.directory / "rhubarbe.conf").read_text()
    conf.write_text(re.sub(r"(?m)^ssh_port = .*$", "ssh_port = 9", text))
    process = slow.start("rhubarbe-wait", "--json", "1", environ={"RHUBARBE_CONF": str(conf)})
    wait_for_event(process, "NodeNoted")
    process.send_signal(number)
    process.communicate(timeout=20)
    assert_left_nothing(slow, process, [])


@pytest.mark.parametrize(
    "command",
    [
        ["rhubarbe-load", "-b", "1", "-t", "4", "1-2"],
        ["rhubarbe-save", "-t", "1.2", "3", "-o", "cut"],
    ],
)
def test_time_limit(slow, command):
    # Without its limit the load would take many minutes: `run` gives up before that.
    result = slow.run(*command)
    assert result.returncode == 1, result.stdout
    assert "time limit" in result.stdout
    assert slow.links() == []
    assert not (slow.directory / "cut.ndz").exists()


def test_wait_time_limit(slow):
    result = slow.run("rhubarbe-wait", "-t", "0.01", "1")
    assert result.returncode == 1
    assert "time limit" in result.stdout


@pytest.mark.parametrize("number", [*SIGNALS, None])
def test_curses_gives_the_terminal_back(slow, number):
    """In a pseudo-terminal of its own: attributes as before, alternate screen left."""
    command = [BIN / "rhubarbe-load", "-c", "-b", "1", "-t", "6", "1-2"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(slow.directory)
        os.execve(command[0], command, slow.environ(TERM="xterm"))
    before = termios.tcgetattr(terminal)
    screen = read_until(terminal, b"image")
    if number is not None:
        os.kill(pid, number)
    screen += read_until(terminal, None)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert termios.tcgetattr(terminal) == before
    os.close(terminal)
    assert b"\x1b[?1049h" in screen
    assert screen.rindex(b"\x1b[?1049l") > screen.rindex(b"\x1b[?1049h")
    assert b"bad: 1-2" in screen[screen.rindex(b"\x1b[?1049l") :]
    assert slow.links() == []


def read_until(terminal, word, within=40):
    """Read a terminal up to a word, or to its end."""
    seen = b""
    deadline = time.monotonic() + within
    while word is None or word not in seen:
        readable, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert readable, f"no {word} within {within} s: {seen[-500:]}"
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # EIO: nobody has the other end open any more
            return seen
        if not piece:
            return seen
        seen += piece
    return seen
