"""The lines of short commands: in order, grouped, and harmless."""

import io

import pytest

from rhubarbe.displays.roster import AnswerWriter
from rhubarbe.events import Finished, NodeAnswered, NodeResult, Notice, Started
from rhubarbe.selector import fold


def result(number, *, ok=True, reason=""):
    return NodeResult(node=f"fit{number:02}", number=number, ok=ok, seconds=1.0, reason=reason)


def answer(number, text, **more):
    return NodeAnswered(node=f"fit{number:02}", text=text, **more)


@pytest.fixture
def shown():
    """Show answers and an end; return both streams."""

    def show(answers, results, *, verbose=False):
        out, err = io.StringIO(), io.StringIO()
        roster = AnswerWriter(out, err, verbose=verbose)
        for event in (Started(command="status", nodes=()), *answers):
            roster.show(event)
        assert out.getvalue() == ""
        bad = fold(each.number for each in results if not each.ok)
        roster.show(
            Finished(
                command="status", good="", bad=bad, exit_code=0, seconds=1.0, nodes=tuple(results)
            )
        )
        roster.tick()
        roster.close()
        return out.getvalue(), err.getvalue()

    return show


def test_equal_answers_share_a_line_in_the_order_of_nodes(shown):
    answers = [answer(number, "off" if number == 2 else "on") for number in (4, 3, 2, 1)]
    assert shown(answers, map_results := [result(number) for number in (1, 2, 3, 4)]) == (
        "1,3-4: on\nfit02: off\n",
        "",
    )
    assert shown(answers, map_results, verbose=True) == (
        "fit01: on\nfit02: off\nfit03: on\nfit04: on\n",
        "",
    )


def test_a_card_that_is_to_blame_is_named(shown):
    answers = [
        answer(1, "on"),
        answer(7, "no answer in 3 s", ok=False, card="reboot07"),
        answer(41, "odd", ok=False, card="reboot15"),
        answer(42, "odder", ok=False, card="power-strip"),
    ]
    results = [result(1), *(result(number, ok=False) for number in (7, 41, 42))]
    assert shown(answers, results) == (
        "fit01: on\nreboot07: no answer in 3 s\nreboot15 (fit41): odd\n"
        "power-strip (fit42): odder\n",
        "bad: 7,41-42\n",
    )


def test_the_same_words_of_good_and_bad_nodes_do_not_mix(shown):
    answers = [answer(1, "off"), answer(2, "off", ok=False)]
    out, _ = shown(answers, [result(1), result(2, ok=False)])
    assert out == "fit01: off\nfit02: off\n"


def test_who_did_not_finish_has_a_reason(shown):
    results = [result(number, ok=False, reason="interrupted") for number in (1, 2, 3)]
    assert shown([answer(2, "half done")], results) == ("1-3: interrupted\n", "bad: 1-3\n")


def test_one_bad_node_alone_is_not_repeated(shown):
    assert shown([], [result(3, ok=False, reason="gone")]) == ("fit03: gone\n", "")


def test_several_lines_and_no_escape_sequences(shown):
    answers = [answer(1, "card\x1b[2J one\n\nlast\x07")]
    assert shown(answers, [result(1)])[0] == "fit01: card one\nfit01: \nfit01: last\n"


def test_what_else_is_to_be_read_is_not_among_the_answers():
    out, err = io.StringIO(), io.StringIO()
    AnswerWriter(out, err).show(Notice(text="no log"))
    assert (out.getvalue(), err.getvalue()) == ("", "no log\n")
