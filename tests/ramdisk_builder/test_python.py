"""Our own code on a node: it finds all that it asks for, also what it asks for seldom."""

import ast
import subprocess
import sys

import pytest

from rhubarbe.ramdisk_builder.python import COMMAND, COMMANDS, HOME, OURS, _ours


@pytest.fixture
def node(tmp_path):
    """A root directory that holds of ours only what a ramdisk has."""
    for path, file in _ours():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    (tmp_path / HOME / "rhubarbe/VERSION").write_bytes((OURS / "VERSION").read_bytes())
    return tmp_path


def imported(tree):
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def test_what_the_files_import_anywhere_is_there_too(node):
    asked = {
        name
        for file in (node / HOME).rglob("*.py")
        for name in imported(ast.parse(file.read_text()))
        if name.startswith("rhubarbe.")
    }
    assert "rhubarbe.imaging.telling" in asked
    ours = {name: OURS.parent / name.replace(".", "/") for name in asked}
    modules = {
        path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        for path in ours.values()
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
    }
    paths = {file.relative_to(OURS.parent) for file in modules}
    assert [path for path in sorted(paths) if not (node / HOME / path).is_file()] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_starts_from_these_files_alone(node, name):
    script = COMMAND.format(home=f"{node}/{HOME}".lstrip("/"), name=name, module=COMMANDS[name])
    script = script.replace(f'sys.argv[0] = "{name}"', f'sys.argv[:] = ["{name}", "--version"]')
    words = [sys.executable, "-ISB", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (OURS / "VERSION").read_text().strip() in done.stdout
