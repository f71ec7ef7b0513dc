"""However a command ends, its last event says how, and the history knows."""

import asyncio
import threading
import time

import pytest

from rhubarbe.errors import GatewayError, Unreachable
from rhubarbe.events import Finished, NodeFailed, Notice, Started
from rhubarbe.gateway.state.history import History
from rhubarbe.operations import command as command_module
from rhubarbe.operations.command import Command


@pytest.fixture
def command(testbed):
    """A command on three nodes, which has a second."""
    return Command("load", testbed.entries, 1.0, testbed.doors, testbed.bus)


def history(command):
    return {
        (run.node, run.command, run.ok, run.reason, run.image)
        for run in History(command.state_dir).runs()
    }


def outcome(testbed):
    return testbed.finished.good, testbed.finished.bad, testbed.finished.exit_code


async def run(command, job, **options):
    async with asyncio.timeout(20):
        await command.run(command.nodes(), job, **options)


async def well(node):
    """Do nothing, well."""


async def third_fails(node):
    if node.name == "fit03":
        raise Unreachable("no answer")


def test_the_first_event_names_command_and_nodes(command, testbed):
    command.begin()
    assert testbed.told == [Started(command="load", nodes=("fit01", "fit02", "fit03"))]


@pytest.mark.parametrize(
    ("job", "good", "bad", "code"), [(well, "1-3", "", 0), (third_fails, "1-2", "3", 1)]
)
async def test_the_last_event_says_how_it_ended(command, testbed, job, good, bad, code):
    await run(command, job, image="/images/mine.ndz")
    (finished,) = testbed.of(Finished)
    assert finished is testbed.told[-1]
    assert (finished.command, finished.good, finished.bad) == ("load", good, bad)
    assert finished.exit_code == code
    assert [result.node for result in finished.nodes] == ["fit01", "fit02", "fit03"]
    assert history(command) == {
        (each.node, "load", each.ok, each.reason, "/images/mine.ndz") for each in finished.nodes
    }


async def test_who_is_late_at_the_limit_of_the_command_is_bad(command, testbed):

    async def job(node):
        if node.name != "fit01":
            await asyncio.Event().wait()

    await run(command, job)
    assert outcome(testbed) == ("1", "2-3", 1)
    words = "not done within the time limit of 1 s"
    assert {event.reason for event in testbed.of(NodeFailed)} == {words}
    assert ("fit03", "load", False, words, "") in history(command)


async def test_an_interrupted_command_has_its_last_event_and_is_noted(command, testbed):
    begun = asyncio.Event()

    async def job(node):
        if node.name == "fit02":
            return
        begun.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(command, job))
        await begun.wait()
        task.cancel()
    assert task.cancelled()
    assert outcome(testbed) == ("2", "1,3", 1)
    assert len(testbed.of(Finished)) == 1
    assert ("fit01", "load", False, "interrupted", "") in history(command)


async def test_a_mistake_of_ours_is_not_hidden_and_the_last_event_still_comes(command, testbed):

    async def job(node):
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        await run(command, job)
    assert caught.group_contains(ZeroDivisionError)
    assert testbed.finished.exit_code == 1


async def test_when_it_began_and_how_long_it_took_is_noted(command, testbed, monkeypatch):
    noted = []
    monkeypatch.setattr(command_module.History, "add", lambda _, run: noted.append(run))
    begun = time.time()

    async def job(node):
        await asyncio.sleep(0.1)
        await third_fails(node)

    await run(command, job, image="/images/bookworm.ndz")
    (kept,) = noted
    assert begun - 0.09 < kept.started < time.time() - 0.09
    assert 0.1 <= kept.seconds <= testbed.finished.seconds
    assert (kept.command, kept.exit_code, kept.image) == ("load", 1, "/images/bookworm.ndz")
    assert kept.nodes == testbed.finished.nodes


async def test_what_only_looks_is_not_noted(command, testbed):
    await run(command, well, is_noted=False)
    assert testbed.finished.exit_code == 0
    assert history(command) == set()


def test_a_history_on_a_disk_that_hangs_holds_nobody_up(command, testbed, monkeypatch):
    """Nor does its thread keep the process from its end."""
    monkeypatch.setattr(command_module, "NOTED_WITHIN_S", 0.1)
    answers = threading.Event()
    late = threading.Timer(30, answers.set)
    late.start()
    monkeypatch.setattr(command_module.History, "add", lambda *_: answers.wait())
    asyncio.run(run(command, well))
    assert not answers.is_set()
    late.cancel()
    answers.set()
    words = "not noted in the history: its disk gives no answer in 0.1 s"
    assert testbed.of(Notice) == [Notice(text=words)]
    assert testbed.finished.exit_code == 0


async def test_a_history_that_cannot_be_kept_fails_nobody(command, testbed, monkeypatch):

    def add(*_):
        raise GatewayError("not noted in the history: the disk is full")

    monkeypatch.setattr(command_module.History, "add", add)
    await run(command, well)
    assert testbed.of(Notice) == [Notice(text="not noted in the history: the disk is full")]
    assert outcome(testbed) == ("1-3", "", 0)
