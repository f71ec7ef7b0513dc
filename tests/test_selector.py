"""The selection language, both ways."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.errors import SelectionError
from rhubarbe.selector import fold, select

NAMES = ("fit", "reboot")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", []),
        ("3", [3]),
        ("003", [3]),
        ("fit03", [3]),
        ("reboot3", [3]),
        ("1-3", [1, 2, 3]),
        ("fit15-reboot18", [15, 16, 17, 18]),
        ("1-10-2", [1, 3, 5, 7, 9]),
        ("1-9-4", [1, 5, 9]),
        ("5-5", [5]),
        ("1,5,7", [1, 5, 7]),
        ("1-3,fit07 9", [1, 2, 3, 7, 9]),
        ("1-12 fit15-reboot18 ~4-6", [1, 2, 3, *range(7, 13), 15, 16, 17, 18]),
        ("1-12,~4-6", [1, 2, 3, *range(7, 13)]),
        ("~4 1-5", [1, 2, 3, 4, 5]),
        ("1-5 ~4 4", [1, 2, 3, 4, 5]),
        ("1-3 ~fit02 ~9", [1, 3]),
        ("1-6 ~1-6-2", [2, 4, 6]),
        ("137 1000", [137, 1000]),
        ("3 3 fit3", [3]),
    ],
)
def test_words_are_taken_from_left_to_right(words, expected):
    assert select(words.split(), NAMES) == expected


def test_exclusions_apply_to_what_it_starts_with():
    assert select(["~4", "~1"], NAMES, [1, 2, 3, 4]) == [2, 3]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("ubuntu", "'ubuntu' selects no node"),
        ("fit", "'fit' selects no node"),
        ("xfit03", "'xfit03' selects no node"),
        ("fitfit3", "selects no node"),
        ("fit03x", "selects no node"),
        ("", "selects no node"),
        ("1,,2", "selects no node"),
        ("1-", "selects no node"),
        ("-3", "selects no node"),
        ("~", "selects no node"),
        ("~~3", "selects no node"),
        ("1-~3", "selects no node"),
        ("1 2", "selects no node"),
        ("1\n", "selects no node"),
        ("12-1", "'12-1' is an empty range: write 1-12"),
        ("~6-4", "'~6-4' is an empty range: write 4-6"),
        ("1-5-0", "'1-5-0' has a step of 0"),
        ("1-10-2-3", "selects no node"),
        ("1-999999999999", "selects no node"),
        ("123456", "selects no node"),
    ],
)
def test_a_word_that_is_none_is_refused(word, says):
    with pytest.raises(SelectionError, match=r"\A[^\n]+\Z") as caught:
        select(["1", word], NAMES)
    assert says in str(caught.value)


def test_names_are_taken_literally():
    with pytest.raises(SelectionError):
        select(["fat03"], ["f.t"])
    assert select(["f.t03"], ["f.t"]) == [3]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([7], "7"),
        ([1, 2], "1-2"),
        ([3, 1, 2, 7, 7], "1-3,7"),
        ([1, 3, 5], "1,3,5"),
        ([99, 100, 101, 400], "99-101,400"),
    ],
)
def test_fold(numbers, text):
    assert fold(numbers) == text


@given(st.sets(st.integers(0, 2000)))
def test_what_is_folded_selects_the_same(numbers):
    assert select(fold(numbers).split(), NAMES) == sorted(numbers)


part = st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 30), st.integers(1, 5))


@given(st.lists(part))
def test_each_part_adds_or_removes_in_its_turn(parts):
    words, expected = [], set()
    for removes, low, length, step in parts:
        words.append(f"{'~' * removes}fit{low:02}-{low + length}-{step}")
        numbers = set(range(low, low + length + 1, step))
        expected = expected - numbers if removes else expected | numbers
    assert select(words, NAMES) == sorted(expected)
    assert select([",".join(words)] if words else [], NAMES) == sorted(expected)


@given(st.text(max_size=12))
def test_any_text_selects_or_is_refused(text):
    try:
        assert all(number >= 0 for number in select([text], NAMES))
    except SelectionError as error:
        assert str(error)


def test_the_whole_name_of_a_node_is_a_word_too():
    nodes = {"c6220-12": 12, "pc3.example.org": 3, "fit1-3": 1, "1-9": 42}
    names = ("fit", "reboot")
    assert select(["c6220-12,pc3.example.org"], names, nodes=nodes) == [3, 12]
    assert select(["1-12", "~c6220-12"], names, nodes=nodes) == list(range(1, 12))
    assert select(["fit1-3"], names, nodes=nodes) == [1]
    assert select(["1-3"], names, nodes=nodes | {"1-3": 42}) == [1, 2, 3]
    with pytest.raises(SelectionError, match="c6220-13"):
        select(["c6220-13"], names, nodes=nodes)
    assert select(["c6220-12-c6220-14"], ("c6220-",)) == [12, 13, 14]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["1-2"] * 25_000, [1, 2]),
        (["0-99999"] * 12_500, list(range(100_000))),
        (["0-99999", "~0-99999-2"] * 5_000, list(range(1, 100_000, 2))),
        ([str(number) for number in range(20_000)], list(range(20_000))),
    ],
    ids=["short", "long", "in and out", "one by one"],
)
@pytest.mark.parametrize("joined", [False, True], ids=["words", "a word"])
def test_100_kb_of_parts_take_a_moment(parts, expected, joined):
    begin = time.process_time()
    assert select([",".join(parts)] if joined else parts, NAMES) == expected
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("words", [["1"] * 50_001, [",".join(["1"] * 1_000_000)]])
def test_parts_without_end_are_refused(words):
    with pytest.raises(SelectionError, match="more than 50000 parts of a selection"):
        select(words, NAMES)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (",".join(["1-2"] * 25_000) + ",here", "'here' selects no node"),
        ("here" * 25_000, "here…' selects no node"),
        ("~" * 100_000, "~…' selects no node"),
    ],
)
def test_a_long_word_is_not_quoted_whole(word, says):
    with pytest.raises(SelectionError) as caught:
        select([word], NAMES)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 150


def test_names_beyond_what_can_be_written_as_numbers_may_be_started_with():
    assert select(["~1"], NAMES, [1, 1_234_567]) == [1_234_567]
