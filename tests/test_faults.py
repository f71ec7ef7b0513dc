"""Every test that FAULTS.md names is there."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", (HERE / "FAULTS.md").read_text())))


@pytest.mark.parametrize(("file", "function"), NAMED)
def test_is_there(file, function):
    place = HERE.parent if file.startswith(("benchmarks/", "setup.py")) else HERE
    text = (place / file).read_text()
    assert not function or re.search(rf"^(async )?def {function}\(", text, re.MULTILINE)


def test_many_are_named():
    assert len(NAMED) > 80
