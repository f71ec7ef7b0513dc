"""What pip installs: every command, every module and data file, and they run."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rhubarbe.cli.dispatch import VERBS

ROOT = Path(__file__).parent.parent
COMMANDS = sorted(path.name for path in (ROOT / "bin").iterdir())
MOST_COLUMNS = 101
PROGRAMS = [name for name in COMMANDS if name != "rhubarbe.sh"]  # which is to be sourced


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_told_without_any_library(program):
    # As where the manual pages are made, when the package is built.
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environ["COLUMNS"] = "80"
    words = [sys.executable, "-S", ROOT / "bin" / program, "--help"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lower().startswith("usage: ")
    assert not [line for line in done.stdout.splitlines() if len(line) > MOST_COLUMNS]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
            *("-w", directory, ROOT),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return next(directory.glob("*.whl"))


@pytest.mark.full
@pytest.mark.timeout(180)
def test_the_wheel_has_every_command_module_and_data_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    scripts = {name.rpartition("/")[2] for name in names if ".data/scripts/" in name}
    assert scripts == set(COMMANDS)
    pages = {name.rpartition("/")[2] for name in names if "/share/man/man1/" in name}
    assert pages == {f"{name}.1" for name in PROGRAMS if name != "rhubarbe-main.py"}
    for path in (ROOT / "rhubarbe").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names


@pytest.mark.full
@pytest.mark.timeout(180)
def test_every_installed_command_explains_itself(wheel, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path, wheel],
        check=True,
        capture_output=True,
        timeout=120,
    )

    def told(command, option):
        result = subprocess.run(
            [sys.executable, tmp_path / "bin" / command, option],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == 0, (command, option, result.stderr)
        return result.stdout.lower()

    for command in PROGRAMS:
        assert "example" in told(command, "--help") or command == "rhubarbe-main.py", command
    for command in PROGRAMS:
        if command.removeprefix("rhubarbe-") not in VERBS:  # theirs are tested elsewhere
            assert told(command, "--version").splitlines()[0].split()[-1][0].isdigit(), command


@pytest.mark.parametrize("command", COMMANDS)
def test_the_shell_finds_every_command_executable(command):
    assert os.access(ROOT / "bin" / command, os.X_OK)
