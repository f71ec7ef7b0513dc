"""One bad node never holds back or cancels the others."""

import asyncio
import errno

import pytest
from absent import AbsentDoors, entry

from rhubarbe.bus import Bus
from rhubarbe.errors import CardError, GatewayError, ImageError, Refused, Unreachable
from rhubarbe.events import (
    NodeFailed,
    NodeResult,
    NodeRetried,
    NodeSucceeded,
    Phase,
)
from rhubarbe.node import Node
from rhubarbe.operations import fleet as fleet_module
from rhubarbe.operations.fleet import Fleet
from rhubarbe.operations.outcome import Outcome


def make_node(number, bus):
    """Return a node that nobody should ask."""
    return Node(entry(number), AbsentDoors(), bus)


def make_fleet(**options):
    """Return a fleet of five nodes, and the list of what it tells the bus."""
    bus = Bus()
    told = []
    bus.report = told.append
    nodes = [make_node(number, bus) for number in (3, 1, 2, 5, 12)]
    return Fleet(nodes, bus, **options), told


@pytest.fixture
def fleet():
    return make_fleet()


@pytest.fixture
def insistent(monkeypatch):
    """A fleet that tries each node three times, without a pause."""
    monkeypatch.setattr(fleet_module, "PAUSE_S", 0.0)
    return make_fleet(retries=2)


def of_kind(told, kind):
    return [event for event in told if isinstance(event, kind)]


async def test_all_went_well(fleet):
    nodes, told = fleet

    async def job(node):
        await asyncio.sleep(0)

    outcome = await nodes.run(job, 5)
    names = ["fit01", "fit02", "fit03", "fit05", "fit12"]
    assert (outcome.exit_code, outcome.good, outcome.bad) == (0, "1-3,5,12", "")
    assert [one.node for one in outcome.nodes] == names
    assert [(one.phase, one.reason, one.attempts) for one in outcome.nodes] == [(None, "", 1)] * 5
    assert sorted(event.node for event in of_kind(told, NodeSucceeded)) == names


@pytest.mark.parametrize(
    "error", [CardError, Unreachable, Refused, GatewayError, ImageError], ids=lambda e: e.__name__
)
async def test_a_bad_node_is_named_and_the_others_go_on(fleet, error):
    nodes, told = fleet
    failed = asyncio.Event()

    async def job(node):
        if node.entry.number == 3:
            node.phase = Phase.IMAGE
            node.last_line = "Short write!"
            failed.set()
            raise error("the disk is full")
        await failed.wait()
        await asyncio.sleep(0.05)

    outcome = await nodes.run(job, 5)
    assert (outcome.exit_code, outcome.good, outcome.bad) == (1, "1-2,5,12", "3")
    (failure,) = of_kind(told, NodeFailed)
    assert (failure.node, failure.phase) == ("fit03", Phase.IMAGE)
    assert (failure.reason, failure.last_line) == ("the disk is full", "Short write!")
    (bad,) = [one for one in outcome.nodes if not one.ok]
    assert (bad.ok, bad.phase, bad.reason) == (False, Phase.IMAGE, "the disk is full")


def caused(error, cause):
    error.__cause__ = cause
    return error


BLAME = {
    "the card": (CardError("no answer in 3 s"), False),
    "the node": (Refused("no"), False),
    "this machine": (GatewayError("no such program"), True),
    "the image": (ImageError("somebody writes to it"), True),
    "no way there": (caused(CardError("x"), OSError(errno.ENETUNREACH, "x")), True),
    "no way there, told again": (
        caused(CardError("y"), caused(CardError("x"), OSError(errno.EPERM, "x"))),
        True,
    ),
    "refused by the other side": (caused(CardError("x"), OSError(errno.ECONNREFUSED, "x")), False),
    "silence": (caused(Unreachable("x"), TimeoutError()), False),
}
OWN = CardError("its own cause")
BLAME["its own cause"] = (caused(OWN, OWN), False)


@pytest.mark.parametrize(("error", "blameless"), BLAME.values(), ids=BLAME)
async def test_a_node_is_not_blamed_for_what_this_machine_lacks(fleet, error, blameless):
    nodes, _ = fleet

    async def job(node):
        if node.name == "fit02":
            raise error

    outcome = await nodes.run(job, 5)
    assert [node.blameless for node in outcome.nodes] == [False, blameless, False, False, False]
    assert outcome.bad == "2"


async def test_what_a_node_said_last_is_not_said_twice(fleet):
    nodes, told = fleet

    async def job(node):
        node.last_line = "Short write!"
        raise Unreachable(f"ended with status 1: {node.last_line}")

    await nodes.run(job, 5)
    assert {failure.last_line for failure in of_kind(told, NodeFailed)} == {""}


async def test_who_is_late_at_the_time_limit_is_bad(fleet):
    nodes, _ = fleet

    async def job(node):
        node.phase = Phase.RAMDISK
        if node.entry.number > 2:
            await asyncio.Event().wait()

    async with asyncio.timeout(10):
        outcome = await nodes.run(job, 0.2)
    assert (outcome.exit_code, outcome.good, outcome.bad) == (1, "1-2", "3,5,12")
    reasons = {(one.reason, one.phase) for one in outcome.nodes if not one.ok}
    assert reasons == {("not done within the time limit of 0.2 s", Phase.RAMDISK)}


async def test_interrupted_nodes_clean_up_and_are_bad(fleet):
    nodes, told = fleet
    begun, cleaned = asyncio.Event(), []

    async def job(node):
        if node.entry.number == 1:
            return
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(node.entry.number)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(nodes.run(job, 30))
        await begun.wait()
        task.cancel()
    assert task.cancelled()
    assert sorted(cleaned) == [2, 3, 5, 12]
    outcome = nodes.outcome
    assert (outcome.good, outcome.bad, outcome.exit_code) == ("1", "2-3,5,12", 1)
    assert {failure.reason for failure in of_kind(told, NodeFailed)} == {"interrupted"}


async def test_companions_run_beside_and_end_with_the_last_node(fleet):
    nodes, _ = fleet
    started, ended = asyncio.Event(), []

    async def companion():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("companion")

    async def job(node):
        await started.wait()
        assert not ended

    async with asyncio.timeout(10):
        outcome = await nodes.run(job, 5, [companion, companion])
    assert outcome.exit_code == 0
    assert ended == ["companion", "companion"]


async def test_companions_end_at_the_time_limit(fleet):
    nodes, _ = fleet
    ended = []

    async def companion():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("companion")

    async def job(node):
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        outcome = await nodes.run(job, 0.1, [companion])
    assert outcome.good == ""
    assert ended == ["companion"]


async def test_a_companion_that_is_done_stops_nobody(fleet):
    nodes, _ = fleet

    async def companion():
        return

    async def job(node):
        await asyncio.sleep(0.02)

    assert (await nodes.run(job, 5, [companion])).exit_code == 0


async def test_a_mistake_of_ours_is_not_hidden_and_the_nodes_are_bad(fleet):
    nodes, _ = fleet

    async def job(node):
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        await nodes.run(job, 5)
    assert caught.group_contains(ZeroDivisionError)
    assert nodes.outcome.bad == "1-3,5,12"


async def test_a_node_that_failed_is_tried_again(insistent):
    nodes, told = insistent
    tries = []

    async def job(node):
        number = node.entry.number
        tries.append(number)
        node.phase = Phase.IMAGE
        if number == 3 and tries.count(3) < 3:
            raise Unreachable(f"round {tries.count(3)}")

    outcome = await nodes.run(job, 5)
    assert outcome.exit_code == 0
    retried = of_kind(told, NodeRetried)
    assert [(one.node, one.phase, one.reason, one.attempt) for one in retried] == [
        ("fit03", Phase.IMAGE, "round 1", 2),
        ("fit03", Phase.IMAGE, "round 2", 3),
    ]
    attempts = {one.number: one.attempts for one in outcome.nodes}
    assert attempts == {1: 1, 2: 1, 3: 3, 5: 1, 12: 1}
    assert of_kind(told, NodeFailed) == []


@pytest.mark.parametrize(
    ("error", "rounds"), [(CardError, 3), (Unreachable, 3), (Refused, 1), (GatewayError, 1)]
)
async def test_the_rounds_are_counted_and_a_refusal_is_believed(insistent, error, rounds):
    nodes, told = insistent
    tries = []

    async def job(node):
        tries.append(node.entry.number)
        if node.entry.number == 5:
            raise error("no")

    outcome = await nodes.run(job, 5)
    assert tries.count(5) == rounds
    assert outcome.bad == "5"
    assert [failure.node for failure in of_kind(told, NodeFailed)] == ["fit05"]


async def test_a_node_is_tried_again_only_after_a_moment(monkeypatch):
    monkeypatch.setattr(fleet_module, "PAUSE_S", 0.1)
    nodes, _ = make_fleet(retries=1)
    tries = []

    async def job(node):
        tries.append(asyncio.get_running_loop().time())
        raise Unreachable("no")

    await nodes.run(job, 5)
    assert min(tries[5:]) - max(tries[:5]) > 0.05


async def test_without_retries_a_node_is_tried_once(fleet):
    nodes, told = fleet

    async def job(node):
        raise Unreachable("no")

    assert [one.attempts for one in (await nodes.run(job, 5)).nodes] == [1] * 5
    assert of_kind(told, NodeRetried) == []


async def test_the_seconds_of_each_node_and_of_the_command_are_told(fleet):
    nodes, told = fleet

    async def job(node):
        node.spent[Phase.IMAGE] = 1.5
        if node.entry.number == 12:
            await asyncio.sleep(0.1)
            raise Unreachable("no")

    outcome = await nodes.run(job, 5)
    quick, late = outcome.nodes[:-1], outcome.nodes[-1]
    assert all(0 <= one.seconds < late.seconds for one in quick)
    assert 0.1 <= late.seconds <= nodes.elapsed < 5
    assert {(event.seconds < late.seconds) for event in of_kind(told, NodeSucceeded)} == {True}
    assert [dict(one.phases) for one in outcome.nodes] == [{Phase.IMAGE: 1.5}] * 5


async def test_where_a_node_failed_is_not_said_twice(fleet):
    nodes, told = fleet

    async def job(node):
        node.phase = Phase.RAMDISK
        raise Unreachable(f"{Phase.RAMDISK}: the card says no")

    outcome = await nodes.run(job, 5)
    assert {one.reason for one in outcome.nodes} == {"the card says no"}
    assert {event.reason for event in of_kind(told, NodeFailed)} == {"the card says no"}


async def test_the_work_on_a_node_is_a_task_of_its_name(fleet):
    """By which whoever looks into a command that hangs sees on which node it does."""
    nodes, _ = fleet
    names = set()

    async def job(node):
        names.add((node.name, asyncio.current_task().get_name()))

    await nodes.run(job, 5)
    assert names == {(f"fit{number:02}",) * 2 for number in (1, 2, 3, 5, 12)}


def test_an_outcome_sums_up_its_nodes():
    def one(number, *, ok):
        return NodeResult(node=f"fit{number:02}", number=number, ok=ok, seconds=1.0)

    outcome = Outcome.of([one(12, ok=True), one(2, ok=False), one(1, ok=True), one(3, ok=False)])
    assert (outcome.good, outcome.bad, outcome.exit_code) == ("1,12", "2-3", 1)
    assert [node.number for node in outcome.nodes] == [1, 2, 3, 12]
    assert Outcome.of([one(4, ok=True)]).exit_code == 0
