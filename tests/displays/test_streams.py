"""The displays that only write: their format, and streams that fail under them."""

import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rhubarbe import events
from rhubarbe.displays.bar import Bar
from rhubarbe.displays.jsonlines import JsonLines
from rhubarbe.displays.logfile import LogFile
from rhubarbe.displays.outlet import Outlet
from rhubarbe.events import Phase

FULL = Path("/dev/full")
NOTICE = events.Notice(text="hello")
RESULT = {
    "node": "fit03",
    "number": 3,
    "ok": False,
    "seconds": 9.5,
    "attempts": 2,
    "phase": "reset",
    "reason": "no answer",
    "phases": {"reset": 9.0},
    "blameless": False,
}
FINISHED = events.Finished(
    command="load",
    good="1-2",
    bad="3",
    exit_code=1,
    seconds=9.5,
    nodes=(events.NodeResult(**RESULT | {"phase": Phase.RESET, "phases": {Phase.RESET: 9.0}}),),
)


class FullDisk(io.StringIO):
    """Has no room for the first `failures` flushes."""

    def __init__(self, failures):
        super().__init__()
        self.failures = failures

    def flush(self):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, "No space left on device")


def test_json_lines(clock):
    stream = io.StringIO()
    display = JsonLines(stream, clock=clock)
    display.show(events.Started(command="load", nodes=("fit01",)))
    display.show(events.PhaseDone(node="fit01", phase=Phase.RESET, seconds=1.23))
    display.show(FINISHED)
    display.tick()
    display.close()
    time = "2026-11-25T10:00:00.000+00:00"
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"time": time, "event": "Started", "command": "load", "nodes": ["fit01"]},
        {"time": time, "event": "PhaseDone", "node": "fit01", "phase": "reset", "seconds": 1.23},
        {
            "time": time,
            "event": "Finished",
            "command": "load",
            "good": "1-2",
            "bad": "3",
            "exit_code": 1,
            "seconds": 9.5,
            "nodes": [RESULT],
        },
    ]


def test_json_keeps_one_line_and_ascii_whatever_a_node_says(clock):
    stream = io.StringIO()
    JsonLines(stream, clock=clock).show(events.NodeSaid(node="fit01", line="é\n\x1b[2J\x9b"))
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()
    assert json.loads(stream.getvalue())["line"] == "é\n\x1b[2J\x9b"


def test_the_log_has_everything(clock):
    stream = io.StringIO()
    display = LogFile(stream, clock=clock)
    display.show(events.ServerSaid(line="Joined"))
    display.show(events.NodeSaid(node="fit01", line="Wrote 1 MB"))
    display.show(events.PhaseStarted(node="fit01", phase=Phase.BOOT))
    display.show(events.Progress(node="fit01", percent=3.0))
    display.show(FINISHED)
    assert stream.getvalue().splitlines() == [
        f"2026-11-25 10:00:00.000 {text}"
        for text in (
            "image server says: Joined",
            "fit01 says: Wrote 1 MB",
            "fit01: boot: started",
            "fit01: 3.0 %",
            "good: 1-2",
            "bad: 3 (reset: no answer)",
            "rhubarbe-load: FAILED on 1 of 3 nodes in 10 s",
        )
    ]
    display.close()
    assert stream.closed


def test_a_full_disk_loses_lines_only(clock):
    display = LogFile(FullDisk(failures=2), clock=clock)
    for _ in range(3):
        display.show(NOTICE)
    assert isinstance(display.outlet.failure, OSError)
    assert display.outlet.failure.errno == errno.ENOSPC


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_file_that_cannot_be_flushed_even_at_the_end(clock):
    display = LogFile(FULL.open("w"), clock=clock)
    display.show(NOTICE)
    display.close()
    assert display.outlet.failure.errno == errno.ENOSPC
    assert display.outlet.stream.closed


@pytest.mark.parametrize("make", [Bar, JsonLines, LogFile])
def test_a_closed_stream_raises_nothing(make, clock):
    stream = io.StringIO()
    display = make(stream, clock=clock)
    stream.close()
    display.show(NOTICE)
    assert display.outlet.failure is not None


def test_letters_that_the_stream_lacks_become_question_marks():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Outlet(stream).write("été … \udcff\n")
    assert raw.getvalue() == b"?t? ? ?\n"


@pytest.mark.parametrize("display", ["bar.Bar", "jsonlines.JsonLines"])
def test_a_reader_that_leaves_changes_neither_the_course_nor_the_exit_code(display):
    module, name = display.split(".")
    program = f"""
import sys
from rhubarbe.displays.{module} import {name}
from rhubarbe.events import Notice
display = {name}(sys.stdout)
sys.stdin.readline()
for _ in range(3):
    display.show(Notice(text="unread"))
display.close()
print("nor is this read")
sys.exit(7)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    child.stdout.close()
    child.stdin.write(b"go\n")
    child.stdin.close()
    errors = child.stderr.read()
    child.stderr.close()
    assert (child.wait(10), errors) == (7, b"")
