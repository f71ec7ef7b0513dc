"""Whoever reads what a command writes stops reading: limits, signals and links are as always."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import time

import pytest
from emulated import events, start_testbed, wait_until

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(180)]

SLOW_IMAGE = ["rhubarbe-load", "-b", "1", "1-2"]


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    testbed = start_testbed(tmp_path_factory.mktemp("readers"), "--nodes", "2", "--boot-time", "1")
    yield testbed
    testbed.end()


@contextlib.contextmanager
def running(testbed, *command, **options):
    process = testbed.start(*command, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def full_pipe(testbed, *command):
    """Run a command that writes into a pipe which is full, and which nobody reads."""
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    os.write(into, b"x" * 4096)
    with running(testbed, *command, "--json", stdout=into, stderr=into) as process:
        os.close(into)
        yield process
    os.close(out)


@contextlib.contextmanager
def stopped_terminal(testbed, *command):
    """Run a command in a terminal, and type ^S there once the command has begun."""
    outer, inner = pty.openpty()
    with running(
        testbed,
        *command,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        environ={"TERM": "xterm-256color"},
    ) as process:
        os.close(inner)
        assert select.select([outer], [], [], 30)[0], "the command says nothing"
        os.write(outer, b"\x13")
        yield process
    os.close(outer)


@contextlib.contextmanager
def stopped_screen(testbed, *command):
    """The same, with the full screen."""
    with stopped_terminal(testbed, *command, "--curses") as process:
        yield process


STUCK = [full_pipe, stopped_terminal, stopped_screen]
SIGNALS = [
    signal.SIGINT,
    *(pytest.param(number, marks=pytest.mark.full) for number in (signal.SIGTERM, signal.SIGHUP)),
]


@pytest.mark.parametrize(
    "stuck", [full_pipe, *(pytest.param(each, marks=pytest.mark.full) for each in STUCK[1:])]
)
def test_the_time_limit_holds(testbed, stuck):
    with stuck(testbed, *SLOW_IMAGE, "-t", "3") as process:
        wait_until(testbed.links)
        assert process.wait(40) == 1
    assert testbed.links() == []


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("stuck", STUCK)
def test_signals_end_it(testbed, stuck, number):
    with stuck(testbed, *SLOW_IMAGE) as process:
        wait_until(testbed.links)
        process.send_signal(number)
        assert process.wait(30) == 1
    assert testbed.links() == []


def test_a_terminal_that_goes_on_shows_it_all(testbed):
    outer, inner = pty.openpty()
    options = {"stdin": inner, "stdout": inner, "stderr": inner, "start_new_session": True}
    with running(testbed, "rhubarbe-load", "1", **options) as process:
        os.close(inner)
        came = os.read(outer, 65536)
        os.write(outer, b"\x13")
        wait_until(lambda: not testbed.links())
        os.write(outer, b"\x11")
        with contextlib.suppress(OSError):  # it has ended, and its terminal with it
            while piece := os.read(outer, 65536):
                came += piece
        assert process.wait(60) == 0
    os.close(outer)
    assert b"all went well on 1 node" in came
    assert b"missing here" not in came


@pytest.mark.full
def test_a_good_load_that_nobody_reads_is_no_success(testbed):
    with full_pipe(testbed, "rhubarbe-load", "1") as process:
        assert process.wait(60) == 1
    last = (testbed.directory / "rhubarbe.log").read_text().splitlines()[-1]
    assert "all went well on 1 node" in last


@pytest.mark.full
def test_a_stopped_reader_that_is_continued_in_time_has_it_all(testbed):
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    copy = testbed.directory / "copy.json"
    with copy.open("wb") as file:
        reader = subprocess.Popen(["cat"], stdin=out, stdout=file)
    os.close(out)
    reader.send_signal(signal.SIGSTOP)
    with running(testbed, "rhubarbe-load", "--json", "1-2", stdout=into) as process:
        os.close(into)
        time.sleep(1)
        reader.send_signal(signal.SIGCONT)
        assert process.wait(60) == 0
    assert reader.wait(10) == 0
    assert events(copy.read_text())[-1]["exit_code"] == 0


@pytest.mark.full
def test_a_report_that_nobody_reads_is_given_up(testbed):
    os.mkfifo(testbed.directory / "report")
    result = testbed.run("rhubarbe-wait", "-t", "0.1", "--report", "report", "1")
    assert result.returncode == 1
    assert "report: the report cannot be written: no answer" in result.stderr


@pytest.mark.parametrize("words", [["status", "1"], ["status", "--json", "1"], ["nodes", "1"]])
def test_what_is_lost_to_closed_streams_is_an_error(testbed, words):
    closed = ["sh", "-c", 'exec "$@" >&- 2>&-', "-"]
    assert testbed.run(*closed, f"rhubarbe-{words[0]}", *words[1:]).returncode == 1
    only_output = ["sh", "-c", 'exec "$@" >&-', "-"]
    done = testbed.run(*only_output, f"rhubarbe-{words[0]}", *words[1:])
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "the output cannot be written: Bad file descriptor" in done.stderr
    only_complaints = ["sh", "-c", 'exec "$@" 2>&-', "-"]
    assert testbed.run(*only_complaints, f"rhubarbe-{words[0]}", *words[1:]).returncode == 0


@pytest.mark.parametrize("words", [["images", "--check"], ["nodes", "-a"], ["load", "no-such"]])
def test_a_complaint_to_a_stopped_terminal_ends(testbed, words):
    """Signals end what has no loop, too, and what is said in the end is not waited for."""
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    os.write(into, b"x" * 4096)
    with running(testbed, f"rhubarbe-{words[0]}", *words[1:], stdout=into, stderr=into) as process:
        os.close(into)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(8)  # it has begun by then, on a busy machine too
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
    os.close(out)
