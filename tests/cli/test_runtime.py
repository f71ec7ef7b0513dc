"""The log: here, else at home, else nowhere; never through somebody's link."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from rhubarbe.bus import Bus
from rhubarbe.cli.runtime import LOG, SIGNALS, run_command
from rhubarbe.events import Finished, Notice

FULL = Path("/dev/full")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The current directory and the home of a user."""
    for name in ("here", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "here" / LOG, tmp_path / "home" / LOG


@pytest.fixture(autouse=True)
def signals():
    """Give the signals back that a command which is over ignores."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(*, json=False):
    async def operation(bus: Bus) -> None:
        bus.report(Notice(text="hello"))
        bus.report(Finished(command="wait", good="", bad="", exit_code=0, seconds=1.0))

    return run_command(operation, curses=False, json=json)


def test_the_log_is_here(places):
    here, home = places
    assert run() == 0
    assert "hello" in here.read_text()
    assert not home.exists()


def test_it_goes_home_where_it_cannot_be_here(places):
    here, home = places
    here.mkdir()
    assert run() == 0
    assert "hello" in home.read_text()


def test_somebody_s_link_is_not_followed(places, tmp_path):
    here, home = places
    here.symlink_to(tmp_path / "precious")
    assert run() == 0
    assert not (tmp_path / "precious").exists()
    assert "hello" in home.read_text()


def test_without_any_log_the_command_still_runs_and_says_so(places, capsys):
    for place in places:
        place.mkdir()
    assert run() == 0
    assert "no log" in capsys.readouterr().out


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_late_changes_nothing(places, number):
    assert run() == 0
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_the_outcome_was_told_changes_nothing(places, number):
    async def operation(bus: Bus) -> None:
        bus.report(Finished(command="wait", good="", bad="", exit_code=0, seconds=1.0))
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()  # where locks and links are given back
        raise AssertionError

    assert run_command(operation, curses=False, json=False) == 0


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("json", [False, True])
def test_what_a_full_disk_swallowed_is_said_and_no_success(places, monkeypatch, capsys, json):
    with FULL.open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert run(json=json) == 1
        with contextlib.suppress(OSError):
            full.close()
    assert "the output cannot be written: No space left on device" in capsys.readouterr().err
    assert "hello" in places[0].read_text()
