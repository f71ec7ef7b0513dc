"""Text of others on a line of ours: see also the words of displays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    shown.encode("utf-8")
