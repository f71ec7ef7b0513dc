"""Whoever changes a module finds its tests: by their name, or in tests/WHERE."""

from pathlib import Path

HERE = Path(__file__).parent
ROOMS = HERE.parent / "rhubarbe"
MODULES = sorted(
    str(path.relative_to(ROOMS)) for path in ROOMS.rglob("*.py") if path.name != "__init__.py"
)


def lines():
    """Read which test files are named for which module."""
    for line in (HERE / "WHERE").read_text().splitlines():
        if line and not line.startswith("#"):
            module, *files = line.split()
            yield module, files


def of_its_name(module):
    """Where the tests of a module are looked for first."""
    path = Path(module)
    room = path.parts[0] if len(path.parts) > 1 else ""
    return {HERE / room / f"test_{path.stem}.py", HERE / f"test_{room}_{path.stem}.py"}


def test_the_tests_of_each_module_are_found():
    listed = dict(lines())
    lost = [
        module
        for module in MODULES
        if module not in listed and not any(path.exists() for path in of_its_name(module))
    ]
    assert lost == [], "name their tests in tests/WHERE"


def test_what_is_named_is_there_and_once():
    named = list(lines())
    assert [module for module, _ in named] == sorted({module for module, _ in named})
    assert [module for module, _ in named if module not in MODULES] == []
    assert [module for module, files in named if not files] == []
    assert [file for _, files in named for file in files if not (HERE / file).is_file()] == []
