"""How many are ready, what the others answer, and which image a node runs."""

import asyncio

import pytest

from rhubarbe.bus import Bus
from rhubarbe.errors import ImageError, Unreachable
from rhubarbe.events import NodeFailed, NodeNoted, NodeSucceeded, Notice, Phase
from rhubarbe.inventory import Entry, Interface
from rhubarbe.operations import readiness
from rhubarbe.operations.readiness import Readiness, WantedImage
from rhubarbe.repository import parse_stamps

OLD = "2026-11-24@10:00:00 - node fit01 - image old - by alice"
NEW = "2026-11-25@10:00:00 - node fit01 - image mine - by alice - a comment"
OTHER = "2026-11-26@10:00:00 - node fit02 - image mine - by bob"
FILE = f"{OLD}\n{NEW}\n"


def entry(number):
    interface = Interface(f"fit{number:02}", f"10.0.0.{number}", "")
    return Entry(number, interface, interface, None)


async def told(number, *events):
    """Return how it stands after such events about so many nodes."""
    bus = Bus()
    counted = Readiness([entry(node) for node in range(1, number + 1)], bus)
    for event in events:
        bus.report(event)
    bus.close()
    await counted.follow()
    return counted.words()


async def test_at_first_nobody_has_answered():
    assert await told(3) == "0 of 3 nodes ready; 1-3: no answer yet"


async def test_the_last_answer_of_each_counts_and_the_commonest_comes_first():
    events = [
        NodeNoted(node="fit01", text="closed"),
        NodeNoted(node="fit01", text="open"),
        NodeNoted(node="fit02", text="closed"),
        NodeNoted(node="fit04", text="closed"),
        NodeSucceeded(node="fit03", seconds=1.0),
        NodeNoted(node="fit03", text="late"),
        NodeFailed(node="fit05", phase=Phase.SSH, reason="refused", last_line=""),
    ]
    assert await told(5, *events) == "1 of 5 nodes ready; 2,4: closed; 1: open; 5: refused"


async def test_all_ready():
    events = [NodeSucceeded(node=f"fit0{number}", seconds=1.0) for number in (1, 2)]
    assert await told(2, *events) == "2 of 2 nodes ready"


async def test_few_answers_are_quoted():
    events = [NodeNoted(node=f"fit{number:02}", text=f"odd {number}") for number in range(1, 8)]
    words = await told(7, *events)
    assert words.count("odd") == readiness.MOST_ANSWERS
    assert words.endswith("; 5-7: other answers")


async def test_it_is_told_only_when_it_has_changed(monkeypatch):
    monkeypatch.setattr(readiness, "TOLD_EVERY_S", 0.01)
    bus = Bus()
    counted = Readiness([entry(1), entry(2)], bus)
    heard = bus.subscribe()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        companions = [group.create_task(each()) for each in (counted.follow, counted.tell)]
        assert await anext(heard) == Notice(text="0 of 2 nodes ready; 1-2: no answer yet")
        await asyncio.sleep(0.05)  # in which it would be told again
        bus.report(NodeSucceeded(node="fit01", seconds=1.0))
        assert isinstance(await anext(heard), NodeSucceeded)
        assert await anext(heard) == Notice(text="1 of 2 nodes ready; 2: no answer yet")
        for companion in companions:
            companion.cancel()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.ndz").touch()
    (tmp_path / "alias.ndz").symlink_to("mine.ndz")
    monkeypatch.setattr(readiness, "provenance", lambda path, root: parse_stamps(FILE))
    return tmp_path


@pytest.mark.parametrize("name", ["mine", "alias", "mine.ndz"])
def test_an_image_is_known_by_its_last_stamp(repository, name):
    wanted = WantedImage.look_up(name, repository)
    assert wanted.require(FILE).comment == "a comment"
    for text in (f"{NEW}\n{OLD}\n", OTHER, f"{FILE}{OTHER}\n"):
        with pytest.raises(Unreachable, match="ssh answers, but from image"):
            wanted.require(text)
    with pytest.raises(Unreachable, match="without a stamp"):
        wanted.require("")


@pytest.mark.parametrize("name", ["gone", "gone.ndz"])
def test_an_image_that_is_not_here_is_known_by_its_name(repository, name):
    wanted = WantedImage.look_up(name, repository)
    assert wanted.require(f"{FILE}{OTHER.replace('mine', 'gone')}\n").user == "bob"
    with pytest.raises(Unreachable, match=r"from image mine \(2026-11-25@10:00:00\)"):
        wanted.require(FILE)


def test_an_image_without_a_stamp_is_refused(repository, monkeypatch):
    monkeypatch.setattr(readiness, "provenance", lambda path, root: [])
    with pytest.raises(ImageError, match=r"mine\.ndz: has no stamp"):
        WantedImage.look_up("mine", repository)
