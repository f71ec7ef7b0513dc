"""A program that is run ends, whatever it does; what it says is bounded, and its input arrives."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from rhubarbe.annexe import programs
from rhubarbe.annexe.programs import SaidTooMuch, TookTooLong, last_line, locate, run


def shell(script, **bounds):
    return run(["sh", "-c", script], **{"limit_s": 30, **bounds})


def test_what_it_says_and_how_it_ended():
    ended = shell('cat; echo "$WORD" >&2; exit 3', text=b"some input", environment={"WORD": "w"})
    assert (ended.status, ended.output, ended.errors) == (3, b"some input", b"w\n")
    assert shell("kill -9 $$").status == -9


def test_much_goes_in_and_out_at_once():
    text = os.urandom(3 << 20)
    assert shell("cat", text=text).output == text


def test_input_that_is_not_read_is_no_error():
    assert shell("exec <&-; echo done", text=bytes(3 << 20)).output == b"done\n"


def test_it_runs_where_it_is_told(tmp_path):
    assert shell("pwd -P", directory=tmp_path).output.decode().strip() == os.path.realpath(tmp_path)


@pytest.mark.parametrize("script", ["yes", "yes >&2"])
def test_what_says_too_much_is_ended(script):
    with pytest.raises(SaidTooMuch, match="says more than 1 MiB"):
        shell(script, most_said=1 << 20)


@pytest.mark.parametrize("script", ["exec sleep 1000", "exec sleep 1000 <&-"])
def test_what_does_not_end_is_ended(script, tmp_path):
    pid = tmp_path / "pid"
    with pytest.raises(TookTooLong):
        shell(f"echo $$ > {pid}; {script}", limit_s=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_what_closes_its_output_and_goes_on_is_ended(monkeypatch):
    monkeypatch.setattr(programs, "GRACE_S", 0.2)
    with pytest.raises(TookTooLong, match="does not end"):
        shell("exec sleep 1000 >&- 2>&-")


def test_what_is_no_program_is_the_system_s_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        run([str(tmp_path / "none")], limit_s=1)


def test_it_may_be_run_from_any_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(shell("echo x").output))
    thread.start()
    thread.join(60)
    assert found == [b"x\n"]


INTERRUPTED = """
import os, signal, sys
from rhubarbe.annexe.programs import run
def end(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, end)
try:
    run(["sh", "-c", "echo $$; kill -TERM $PPID; exec sleep 1000"], limit_s=600)
except KeyboardInterrupt:
    left = os.popen("ps --no-headers --ppid %d -o args" % os.getpid()).read()
    print("interrupted", [line for line in left.splitlines() if "sleep" in line])
"""


def test_an_interrupt_ends_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "interrupted []\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_programs_of_the_administrator_s_are_found_too(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert locate("ldconfig") is not None
    assert locate("no-such-program") is None
    (tmp_path / "ldconfig").write_text("#!/bin/sh\n")
    (tmp_path / "ldconfig").chmod(0o755)
    assert locate("ldconfig") == str(tmp_path / "ldconfig")


@pytest.mark.parametrize(
    ("said", "line"),
    [(b"", "no word"), (b"\n \n", "no word"), (b"a\nb \xff\n\n", "b \ufffd"), ("one", "one")],
)
def test_the_last_line_says_most(said, line):
    assert last_line(said) == line
