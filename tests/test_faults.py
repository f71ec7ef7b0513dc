"""Every test that FAULTS.md names is there."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEXT = (HERE / "FAULTS.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and "held by" not in line]


@pytest.mark.parametrize(("file", "function"), NAMED)
def test_is_there(file, function):
    place = HERE.parent if file.startswith(("benchmarks/", "setup.py")) else HERE
    text = (place / file).read_text()
    assert not function or re.search(rf"^(async )?def {function}\(", text, re.MULTILINE)


def test_many_are_named():
    assert len(NAMED) > 80


def test_each_line_has_a_test_or_a_reason():
    assert len(ROWS) > 80
    assert [row for row in ROWS if not re.fullmatch(r"\| [^|]+ \| [^|]{8,} \|", row)] == []


def test_the_faults_that_were_still_there_are_all_there():
    assert [int(number) for number in re.findall(r"(?m)^\| (\d+)\. ", TEXT)] == list(range(1, 28))
