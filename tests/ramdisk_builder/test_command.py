import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rhubarbe.ramdisk_builder.command import main
from rhubarbe.ramdisk_builder.keys import read_keys
from rhubarbe.ramdisk_builder.output import replacing

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGcd6a8Qhz0Jd1yVxWm9b3 owner of it\n"
FILES = Path(__file__).parents[2] / "rhubarbe/ramdisk_builder/files"


@pytest.fixture
def key(tmp_path):
    (tmp_path / "key.pub").write_text(KEY)
    return tmp_path / "key.pub"


def run(capsys, *words):
    try:
        status = main([str(word) for word in words])
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().err


def test_without_apt_one_line_says_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    status, told = run(capsys, "build", "--output", tmp_path, "--cache", tmp_path / "cache")
    assert status == 1
    assert told == "rhubarbe-ramdisk: dpkg is not installed (Debian's package dpkg)\n"
    assert not (tmp_path / "initrd").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["build", "--no-telnet"], "nobody could get in"),
        (["system"], "nobody could get in"),
        (["build", "--ssh-key", "/none"], "the key /none cannot be read: No such file"),
        (["system", "--size", "3", "--ssh-key", "/none"], "3 is not between"),
        (["system", "--minimal", "--debian"], "not allowed with"),
        ([], "required"),
    ],
)
def test_a_command_line_that_is_wrong_ends_with_2(capsys, words, reason):
    status, told = run(capsys, *words)
    assert status == 2
    assert reason in told


def test_a_private_key_is_never_put_on_a_node(capsys, tmp_path):
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    status, told = run(capsys, "build", "--ssh-key", tmp_path / "key")
    assert status == 2
    assert "is no public key" in told


def test_keys_are_read_one_a_line(key):
    key.write_text(f"# of the gateway\n\n{KEY}{KEY.replace('ed25519', 'rsa')}")
    assert read_keys(key) == [KEY.strip(), KEY.strip().replace("ed25519", "rsa")]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "initrd"
    with replacing(path) as file:
        file.write(b"old")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [each.name for each in path.parent.iterdir()] == ["initrd"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "script",
    sorted(path.name for path in FILES.iterdir() if path.read_text().startswith("#!/bin/sh")),
)
def test_scripts_are_ones_that_a_shell_understands(script):
    shells = [shell for shell in ("dash", "bash") if shutil.which(shell)]
    for shell in shells:
        done = subprocess.run([shell, "-n", FILES / script], capture_output=True, text=True)
        assert done.stderr == ""
    assert shells


def _wait_until(is_true, within=20):
    deadline = time.monotonic() + within
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(number):
    """Whether a process still runs; one that nobody has waited for yet does not."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_and_leaves_nothing(tmp_path, number):
    programs = tmp_path / "programs"
    programs.mkdir()
    started = programs / "started"
    texts = {
        "dpkg": "echo amd64",
        "apt-get": f"echo $$ > {started}.new\nmv {started}.new {started}",
    }
    for name, text in texts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n[ {name} = dpkg ] || exec sleep 60\n")
        (programs / name).chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "rhubarbe.ramdisk_builder.command", "build"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        _wait_until(started.exists)
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (1, "rhubarbe-ramdisk: interrupted\n")
    _wait_until(lambda: not _runs(started.read_text().strip()))
    assert {path.name for path in tmp_path.iterdir()} <= {"programs", ".cache"}
    assert not list(tmp_path.rglob("fetch-*"))
