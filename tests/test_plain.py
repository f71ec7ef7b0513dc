"""What others wrote is one line that can be printed, whatever it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.errors import LONGEST_MESSAGE, CardError, NodeError, Refused
from rhubarbe.plain import plain


@given(st.text(), st.integers(1, 100))
def test_any_text_becomes_one_line(text, limit):
    line = plain(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    assert line == line.strip()
    assert "  " not in line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("on\n", "on"),
        ("two\r\nlines\x0b and\u2028more", "two lines and more"),
        ("\x1b[2J\x1b[31mred\x1b[0m \x9b31m", "red 31m"),
        ("right\u202eto left\u200b", "rightto left"),
        ("caf\u00e9 \u7bc0\u70b9", "caf\u00e9 \u7bc0\u70b9"),
        ("not UTF-8: \udc80", "not UTF-8:"),
    ],
)
def test_what_cannot_be_seen_goes(text, line):
    assert plain(text) == line


@pytest.mark.parametrize("kind", [NodeError, CardError, Refused])
def test_whatever_a_node_says_becomes_a_reason_of_one_line(kind):
    error = kind("answers with \x1b[2J400,\n message:\r\n" + "x" * 100_000)
    assert str(error).startswith("answers with 400, message: xxx")
    assert str(error).isprintable()
    assert len(str(error)) == LONGEST_MESSAGE
