"""Text of others on a line of ours: see also the words of displays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe import text
from rhubarbe.errors import LONGEST_MESSAGE, CardError, NodeError, Refused
from rhubarbe.text import sanitise


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"caf\xe9.ndz", r"caf\xe9.ndz"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("größer".encode(), "größer"),
        (b"\x9b2J", r"\x9b2J"),
        (b"new\nline\r", "new line"),
        (b"a\x1b]0;title\x07b", "ab"),
    ],
)
def test_a_name_of_a_file_is_shown(text, shown):
    assert sanitise(text.decode("utf-8", "surrogateescape")) == shown


@given(st.text(st.characters()), st.integers(1, 50))
def test_whatever_it_is_it_can_be_written_in_one_line(text, limit):
    shown = sanitise(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert shown == " ".join(shown.split())
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("on\n", "on"),
        ("two\r\nlines\x0b and\u2028more", "two lines and more"),
        ("\x1b[2J\x1b[31mred\x1b[0m \x9b31m", "red"),
        ("right\u202eto left\u200b", "rightto left"),
        ("caf\u00e9 \u7bc0\u70b9", "caf\u00e9 \u7bc0\u70b9"),
        ("a \0 b", "a b"),
        ("\x1b[1;31mred\x1b[0m \x1b[2K\x1b[?25lgone\x1b(B", "red gone"),
        ("not UTF-8: \udc80", r"not UTF-8: \x80"),
    ],
)
def test_what_cannot_be_seen_goes(text, line):
    assert sanitise(text) == line


@pytest.mark.parametrize("kind", [NodeError, CardError, Refused])
def test_whatever_a_node_says_becomes_a_reason_of_one_line(kind):
    error = kind("answers with \x1b[2J400,\n message:\r\n" + "x" * 100_000)
    assert str(error).startswith("answers with 400, message: xxx")
    assert str(error).isprintable()
    assert len(str(error)) == LONGEST_MESSAGE


@pytest.mark.parametrize("begins", ["\x9d", "\x90", "\x1b]", "\x1bP", "\x9b0", "\x1b[1;"])
def test_what_has_no_end_takes_no_longer_than_it_is(begins):
    """Each beginning would be followed to the end of the text: that is hours."""
    text = begins * 300_000
    assert sanitise(text, len(text)).isprintable()


def test_a_secret_that_somebody_repeats_is_not_shown(monkeypatch):
    monkeypatch.setattr(text, "_hidden", set())
    for secret in ("Tr0ub4dor", "Tr0ub4dor &3", "it's \\ so", "abc"):
        text.hide(secret)
    assert text.sanitise("no 'Tr0ub4dor &3', Tr0ub4dor") == "no '(not shown)', (not shown)"
    assert text.sanitise(repr("it's \\ so")) == '"(not shown)"'
    assert text.sanitise("Tr0\x00ub4dor") == "(not shown)"
    assert text.mask("abc") == "abc"
