"""What a save notes in its image."""

from datetime import datetime
from pathlib import Path

import pytest

from rhubarbe.inventory import Entry, Interface
from rhubarbe.operations.save import SaveRequest
from rhubarbe.ramdisk import LONGEST_STAMP

INTERFACE = Interface("fit01", "10.0.0.1", "02:00:00:00:00:01")


def request(comment):
    return SaveRequest(
        entry=Entry(1, INTERFACE, INTERFACE, None),
        image=Path("mine.ndz"),
        author="alice",
        comment=comment,
        now=datetime(2026, 3, 19, 10, 24, 5),
        limit=60.0,
    )


@pytest.mark.parametrize(
    ("comment", "kept", "is_whole"),
    [
        ("", "", True),
        ("with my tools", " - with my tools", True),
        ("  two\n lines ", " - two lines", True),
        ("x" * 3000, " - " + "x" * 3000, True),
        ("été \u202e日本", " - été 日本", False),
        ("caf\udce9 latin", " - caf\\xe9 latin", True),
        ("red \x1b[31m words", " - red words", False),
        ("a\x04b", " - ab", False),
        ("\x04", "", False),
    ],
)
def test_a_stamp_has_all_of_the_comment_or_it_is_known(comment, kept, is_whole):
    made = request(comment)
    before = "2026-03-19@10:24:05 - node fit01 - image mine - by alice"
    assert made.stamp.removesuffix(" -") == before + kept
    assert made.is_comment_whole is is_whole


def test_a_comment_that_is_too_long_is_cut():
    made = request("x" * 5000)
    assert len(made.stamp) == LONGEST_STAMP
    assert not made.is_comment_whole
