import math

import pytest

from rhubarbe import events
from rhubarbe.displays.tally import NodeState, Tally
from rhubarbe.events import Phase


@pytest.fixture
def tally():
    tally = Tally()
    tally.take(events.Started(command="load", nodes=("fit01", "fit02", "fit03", "fit04")))
    return tally


def fail(node):
    return events.NodeFailed(node=node, phase=Phase.IMAGE, reason="exit code 1", last_line="")


def test_all_wait_at_first(tally):
    assert tally.counts() == {NodeState.WAITING: 4}
    assert tally.percent() == 0.0


def test_the_mean_of_all_nodes(tally):
    tally.take(events.Progress(node="fit01", percent=50.0))
    tally.take(events.Progress(node="fit02", percent=30.0))
    assert tally.percent() == 20.0


def test_a_failed_node_is_no_longer_awaited(tally):
    for node in ("fit01", "fit02"):
        tally.take(events.Progress(node=node, percent=60.0))
    tally.take(fail("fit03"))
    assert tally.percent() == 40.0


def test_failure_and_success_are_final(tally):
    tally.take(fail("fit01"))
    tally.take(events.NodeSucceeded(node="fit02", seconds=9.0))
    for node in ("fit01", "fit02"):
        tally.take(events.PhaseStarted(node=node, phase=Phase.LINK))
        tally.take(events.Progress(node=node, percent=1.0))
        tally.take(events.NodeSaid(node=node, line="late"))
    assert tally.counts() == {NodeState.FAILED: 1, NodeState.DONE: 1, NodeState.WAITING: 2}
    assert tally.nodes["fit01"].last_word == "image: exit code 1"
    assert tally.nodes["fit02"].last_word == "ok in 9.0 s"
    assert tally.nodes["fit02"].percent == 100.0


def test_a_node_that_is_tried_again_begins_at_nothing(tally):
    tally.take(events.Progress(node="fit01", percent=80.0))
    tally.take(events.NodeRetried(node="fit01", phase=Phase.IMAGE, reason="exit code 1", attempt=2))
    assert tally.percent() == 0.0
    assert tally.nodes["fit01"].state is NodeState.BUSY
    assert tally.nodes["fit01"].last_word == "round 2 begins, after image: exit code 1"


def test_a_new_phase_forgets_the_last_word_and_hears_new_ones(tally):
    tally.take(events.PhaseStarted(node="fit01", phase=Phase.RESET))
    tally.take(events.NodeNoted(node="fit01", text="card says \x1b[1mok"))
    assert tally.nodes["fit01"].last_word == "card says ok"
    tally.take(events.PhaseDone(node="fit01", phase=Phase.RESET, seconds=2.0))
    assert tally.nodes["fit01"].last_word == "reset done in 2.0 s"
    tally.take(events.PhaseStarted(node="fit01", phase=Phase.RAMDISK))
    assert (tally.nodes["fit01"].phase, tally.nodes["fit01"].last_word) == ("ramdisk", "")


@pytest.mark.parametrize(("told", "kept"), [(-1.0, 0.0), (101.0, 100.0), (math.nan, 0.0)])
def test_percentages_stay_within_bounds(tally, told, kept):
    tally.take(events.Progress(node="fit01", percent=told))
    assert tally.nodes["fit01"].percent == kept


def test_a_node_that_was_not_announced_is_counted(tally):
    tally.take(events.NodeNoted(node="fit09", text="hello"))
    assert list(tally.nodes)[-1] == "fit09"
