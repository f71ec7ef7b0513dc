import fcntl
import io
import os
import re
import struct
import termios

import pytest

from rhubarbe import events
from rhubarbe.displays.bar import Bar
from rhubarbe.events import Phase

STARTED = events.Started(command="load", nodes=("fit01", "fit02"))
FINISHED = events.Finished(command="load", good="1", bad="2", exit_code=1, seconds=12.0)


def screen(text):
    """What a terminal shows after `text`: carriage return, line feed and erase to the right."""
    rows, column = [""], 0
    for piece in re.findall(r"\x1b\[K|\r|\n|[^\x1b\r\n]+", text):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            rows.append("")
            column = 0
        elif piece == "\x1b[K":
            rows[-1] = rows[-1][:column]
        else:
            rows[-1] = rows[-1][:column].ljust(column) + piece + rows[-1][column + len(piece) :]
            column += len(piece)
    return [row.rstrip() for row in rows]


def test_timed_lines(clock):
    stream = io.StringIO()
    bar = Bar(stream, clock=clock)
    bar.show(STARTED)
    clock.advance(12.4)
    bar.show(events.NodeNoted(node="fit01", text="reset: ok"))
    bar.show(events.Progress(node="fit01", percent=1.0))
    bar.show(FINISHED)
    bar.close()
    assert stream.getvalue().splitlines() == [
        "10:00:00 - +000s: Selection: fit01 fit02",
        "10:00:12 - +012s: fit01: reset: ok",
        "good: 1",
        "bad: 2",
        "rhubarbe-load: FAILED on 1 of 2 nodes in 12 s",
    ]


@pytest.mark.parametrize("verbose", [True, False])
def test_what_nodes_say_is_for_the_verbose(clock, verbose):
    stream = io.StringIO()
    Bar(stream, clock=clock, verbose=verbose).show(events.NodeSaid(node="fit01", line="Wrote 1"))
    assert ("Wrote 1" in stream.getvalue()) is verbose


def test_without_a_terminal_one_line_a_tenth(clock):
    stream = io.StringIO()
    bar = Bar(stream, clock=clock)
    bar.show(STARTED)
    for percent in range(101):
        for node in STARTED.nodes:
            bar.show(events.Progress(node=node, percent=float(percent)))
        for _ in range(3):
            bar.tick()
    lines = stream.getvalue().splitlines()[1:]
    assert lines == [f"10:00:00 - +000s: progress: {tenth} %" for tenth in range(10, 101, 10)]


def test_without_a_terminal_no_progress_where_there_is_no_image(clock):
    stream = io.StringIO()
    bar = Bar(stream, clock=clock)
    bar.show(STARTED)
    bar.show(events.NodeSucceeded(node="fit01", seconds=1.0))
    bar.tick()
    assert "progress" not in stream.getvalue()


def test_lines_above_one_bar(clock):
    stream = io.StringIO()
    bar = Bar(stream, clock=clock, terminal=True)
    bar.show(STARTED)
    bar.tick()
    for percent in (20.0, 40.0, 60.0):
        clock.advance(1)
        bar.show(events.Progress(node="fit01", percent=percent))
        bar.tick()
        bar.show(events.NodeNoted(node="fit01", text=f"at {percent:.0f}"))
    rows = screen(stream.getvalue())
    assert rows[:-1] == [
        "10:00:00 - +000s: Selection: fit01 fit02",
        "10:00:01 - +001s: fit01: at 20",
        "10:00:02 - +002s: fit01: at 40",
        "10:00:03 - +003s: fit01: at 60",
    ]
    assert re.fullmatch(r"\[#+\.+\]  30% \| 3s \| ETA 0:07", rows[-1])


def test_the_time_to_go_is_measured_from_the_first_byte(clock):
    stream = io.StringIO()
    bar = Bar(stream, clock=clock, terminal=True)
    bar.show(events.Started(command="load", nodes=("fit01",)))
    endings = []
    for percent in (0.0, 10.0, 10.0, 20.0, 30.0):
        clock.advance(100)
        bar.show(events.Progress(node="fit01", percent=percent))
        bar.tick()
        endings.append(screen(stream.getvalue())[-1].rpartition("| ")[2])
    assert endings == ["ETA --:--", "ETA --:--", "ETA --:--", "ETA 26:40", "ETA 17:30"]


@pytest.mark.parametrize("columns", [1, 8, 40, 120])
def test_the_bar_stays_on_one_line_of_the_terminal(clock, columns, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(outer, "rb", buffering=0) as reader, os.fdopen(inner, "w") as stream:
        bar = Bar(stream, clock=clock)
        bar.show(STARTED)
        reader.read(1000)
        bar.tick()
        drawn = screen(reader.read(1000).decode())
    assert len(drawn) == 1
    assert len(drawn[0]) == columns - 1


def test_a_failed_node_leaves_the_mean(clock):
    stream = io.StringIO()
    bar = Bar(stream, clock=clock, terminal=True)
    bar.show(STARTED)
    bar.show(events.Progress(node="fit01", percent=60.0))
    bar.show(events.NodeFailed(node="fit02", phase=Phase.RESET, reason="dead", last_line=""))
    bar.tick()
    assert " 60% " in screen(stream.getvalue())[-1]


def test_the_bar_is_gone_at_the_end_and_stays_gone(clock):
    stream = io.StringIO()
    bar = Bar(stream, clock=clock, terminal=True)
    bar.show(STARTED)
    bar.tick()
    bar.show(FINISHED)
    bar.tick()
    bar.close()
    bar.close()
    assert screen(stream.getvalue()) == [
        "10:00:00 - +000s: Selection: fit01 fit02",
        "good: 1",
        "bad: 2",
        "rhubarbe-load: FAILED on 1 of 2 nodes in 12 s",
        "",
    ]


def test_the_bar_is_erased_when_the_end_was_never_told(clock):
    stream = io.StringIO()
    bar = Bar(stream, clock=clock, terminal=True)
    bar.show(STARTED)
    bar.tick()
    bar.close()
    assert screen(stream.getvalue()) == ["10:00:00 - +000s: Selection: fit01 fit02", ""]


def test_a_dumb_terminal_gets_lines_only(clock, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    bar = Bar(stream, clock=clock)
    bar.show(STARTED)
    bar.tick()
    bar.close()
    assert stream.getvalue() == "10:00:00 - +000s: Selection: fit01 fit02\n"
