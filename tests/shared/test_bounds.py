"""What strangers wrote is taken in within bounds of depth and time."""

import json
import threading

import pytest

from rhubarbe.concurrency.time_limit import within
from rhubarbe.shared.documents import parse


@pytest.mark.parametrize(
    "value", [{}, [], {"a": [1, {"b": None}]}, "[[[[[[[[[[[[", '\\"[[[[[[[[[', [[[[[[[[]]]]]]]]]
)
def test_json_that_is_as_deep_as_ours_is_read(value):
    assert parse(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        '{"a":' * 9 + "1" + "}" * 9,
        "[" * 9 + "]" * 9,
        "[1" + "0" * 9000 + "]",
        "",
        "{",
        '{"a": 1, "a": 1}',
        '[{"x": {"ip": 1, "mac": 2, "ip": 3}}]',
    ],
)
def test_what_is_deeper_or_endless_or_none_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_what_ends_gives_its_result_or_its_error():
    assert within(10, int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        within(10, int, "x")


def test_what_does_not_end_is_given_up():
    with pytest.raises(TimeoutError, match=r"no answer in 0\.1 s"):
        within(0.1, threading.Event().wait)
