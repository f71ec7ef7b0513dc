"""A save: what it notes in its image, and what it leaves behind, however it ends."""

import asyncio
import dataclasses
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from rhubarbe.dialogue import LONGEST_STAMP
from rhubarbe.errors import CommandFailed, GatewayError
from rhubarbe.events import (
    CollectorReady,
    ImageSaved,
    NodeFailed,
    NodeNoted,
    Notice,
    Phase,
    Progress,
)
from rhubarbe.gateway.services.collector import Collector
from rhubarbe.gateway.state.locks import hold
from rhubarbe.inventory import Entry, Interface
from rhubarbe.operations import save as save_module
from rhubarbe.operations.save import SHORTENED, SaveRequest, save

INTERFACE = Interface("fit01", "10.0.0.1", "02:00:00:00:00:01")


def request(comment, entry=None, image=None, **options):
    return SaveRequest(
        entry=entry or Entry(1, INTERFACE, INTERFACE, None),
        image=image or Path("mine.ndz"),
        author="alice",
        comment=comment,
        now=datetime(2026, 3, 19, 10, 24, 5),
        limit=60.0,
        **options,
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


@pytest.fixture
def saved(testbed):
    """Where the image is to be."""
    return testbed.directory / "saved.ndz"


@pytest.fixture
def saving(testbed, saved):
    """Return what saves the first node."""

    def work(comment="", **options):
        made = request(comment, testbed.first.entry, saved, **options)
        return save(made, testbed.settings, testbed.bus, testbed.doors)

    return work


def partials(testbed):
    return sorted(path.name for path in testbed.directory.glob("*.partial"))


async def test_the_image_is_what_the_node_sent_and_the_node_boots_its_disk(testbed, saved, saving):
    await testbed.run(saving("with my tools"))
    assert testbed.finished.good == "1"
    content = testbed.image.read_bytes()
    assert saved.read_bytes() == content
    (told,) = testbed.of(ImageSaved)
    assert (told.path, told.size) == (str(saved), len(content))
    assert testbed.of(Progress)[-1].percent == 100.0
    assert any("with my tools" in command for command in testbed.first.commands)
    assert (testbed.first.orders, testbed.first.runs) == (["reset", "reset"], "disk")
    assert testbed.links() == partials(testbed) == []


async def test_one_that_is_in_the_ramdisk_already_is_not_reset(testbed, saved, saving):
    testbed.first.runs = "ramdisk"
    await testbed.run(saving(resets=False))
    assert saved.exists()
    assert (testbed.first.orders, testbed.first.runs) == ([], "ramdisk")


async def test_a_comment_that_is_not_kept_whole_is_told(testbed, saving):
    await testbed.run(saving("x" * 5000))
    assert Notice(text=SHORTENED) in testbed.told


async def test_an_image_without_a_stamp_is_still_an_image(testbed, saved, saving):
    testbed.first.spoilt[Phase.STAMP] = CommandFailed("mount: no such device")
    await testbed.run(saving())
    assert testbed.finished.good == "1"
    assert saved.exists()
    (note,) = [event.text for event in testbed.of(NodeNoted) if "no stamp" in event.text]
    assert "mount: no such device" in note


async def test_where_no_partition_is_to_be_stamped_none_is(testbed, saved, saving):
    frisbee = testbed.settings.frisbee.but(root_partition="none")
    testbed.settings = dataclasses.replace(testbed.settings, frisbee=frisbee)
    await testbed.run(saving())
    assert saved.exists()
    assert Phase.STAMP not in {getattr(event, "phase", None) for event in testbed.told}


@pytest.mark.parametrize(
    "phase", [Phase.RESET, Phase.RAMDISK, Phase.DISK, Phase.IMAGE, Phase.BOOT], ids=str
)
async def test_one_that_fails_in_any_phase_says_so(testbed, saved, saving, faults, phase):
    testbed.first.spoilt[phase] = faults[phase]
    await testbed.run(saving())
    assert testbed.results() == {"fit01": phase}
    assert saved.exists() is (phase is Phase.BOOT)
    assert testbed.links() == partials(testbed) == []


@pytest.mark.parametrize(
    "phase",
    [Phase.RESET, Phase.RAMDISK, Phase.DISK, Phase.STAMP, Phase.IMAGE, Phase.BOOT],
    ids=str,
)
async def test_an_interrupt_in_any_phase_gives_everything_back(testbed, saved, saving, phase):
    testbed.first.spoilt[phase] = testbed.hang
    await testbed.interrupt(saving())
    assert testbed.results() == {"fit01": phase}
    assert saved.exists() is (phase is Phase.BOOT)
    assert testbed.links() == partials(testbed) == []


async def test_an_image_that_is_cut_short_is_none(testbed, saved, saving):
    testbed.first.sends = testbed.image.read_bytes()[:-1]
    await testbed.run(saving())
    (failed,) = testbed.of(NodeFailed)
    assert "within chunk 0" in failed.reason
    assert not saved.exists()


async def test_what_is_damaged_is_no_image(testbed, saved, saving):
    content = bytearray(testbed.image.read_bytes())
    content[2000] ^= 1
    testbed.first.sends = bytes(content)
    await testbed.run(saving())
    (failed,) = testbed.of(NodeFailed)
    assert "not a whole image" in failed.reason
    assert not saved.exists()


async def test_an_image_that_came_to_be_there_meanwhile_is_not_replaced(testbed, saved, saving):
    testbed.first.spoilt[Phase.IMAGE] = saved.touch
    await testbed.run(saving())
    (failed,) = testbed.of(NodeFailed)
    assert "exists already; the new image is in" in failed.reason
    assert saved.read_bytes() == b""
    (partial,) = testbed.directory.glob("*.partial")
    assert partial.read_bytes() == testbed.image.read_bytes()


async def test_strangers_are_turned_away_and_told(testbed, saved, saving):
    """Who else connects to where the image is taken."""
    testbed.first.comes_from = "127.0.0.1"
    await testbed.run(saving())
    words = "a sender at 127.0.0.1 was turned away: the image comes from 127.77.0.1"
    assert Notice(text=words) in testbed.told
    (failed,) = testbed.of(NodeFailed)
    assert words in failed.reason
    assert not saved.exists()


async def test_where_no_image_has_room_nothing_is_touched(testbed, saved, saving, monkeypatch):
    monkeypatch.setattr(save_module, "free_space", lambda _: (1 << 20) - 1)
    with pytest.raises(GatewayError, match=r"and the smallest image takes 1 MiB: nothing was"):
        await saving()
    assert testbed.first.orders == partials(testbed) == []


@pytest.mark.parametrize(("free", "is_told"), [(1 << 30, True), (2 << 30, False), (None, False)])
async def test_where_the_image_of_a_full_disk_has_no_room_that_is_told(
    testbed, saved, saving, monkeypatch, free, is_told
):
    monkeypatch.setattr(save_module, "free_space", lambda _: free)
    testbed.first.disk_size = 1 << 30
    await testbed.run(saving())
    said = [event.text for event in testbed.of(Notice) if "may not fit" in event.text]
    words = (
        f"{testbed.directory}: there is room for 1 GiB, and the image of fit01's disk, which has"
        " 1 GiB, may not fit"
    )
    assert said == [words] * is_told
    assert saved.exists()


async def test_what_older_saves_have_left_goes_and_is_told(testbed, saved, saving, monkeypatch):
    now = time.time()
    cut = testbed.directory / "other.ndz.partial"
    cut.touch()
    monkeypatch.setattr(time, "time", lambda: now + 15 * 86400)
    await testbed.run(saving())
    assert any(f"remove {cut} (0 bytes), cut short" in event.text for event in testbed.of(Notice))
    assert partials(testbed) == []


async def test_a_node_that_another_command_works_on_is_not_touched(testbed, saved, saving):
    async with hold(testbed.state, "load", ["fit01"], 0.0):
        with pytest.raises(GatewayError, match="fit01 is taken by"):
            await saving()
    assert testbed.first.orders == testbed.of(CollectorReady) == []
    assert partials(testbed) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], []),
        (
            ["ssh host keys", "a machine id"],
            [
                "saved.ndz holds what should be one machine's own: ssh host keys, a machine id;"
                " nodes loaded with it will share them"
            ],
        ),
    ],
)
async def test_what_should_be_one_machine_s_own_is_told(testbed, saving, monkeypatch, found, said):
    monkeypatch.setattr(save_module, "own_things", lambda *_: found)
    await testbed.run(saving())
    assert [event.text for event in testbed.of(Notice) if "saved.ndz" in event.text] == said


async def test_what_cannot_be_looked_into_is_told_and_saved_all_the_same(testbed, saved, saving):
    """The image is of a disk without any partition."""
    await testbed.run(saving())
    assert testbed.finished.good == "1"
    (notice,) = [event.text for event in testbed.of(Notice) if "was not looked for" in event.text]
    assert str(saved) in notice


async def test_one_that_is_interrupted_as_it_gets_its_name_is_taken_back(
    testbed, saved, saving, monkeypatch
):
    named, goes_on = asyncio.Event(), threading.Event()
    loop, publish = asyncio.get_running_loop(), Collector.publish

    def slowly(collector, name):
        publish(collector, name)
        loop.call_soon_threadsafe(named.set)
        assert goes_on.wait(60)

    monkeypatch.setattr(Collector, "publish", slowly)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(saving())
        await named.wait()
        assert saved.exists()
        task.cancel()
        await asyncio.sleep(0)  # until it is
        goes_on.set()
    assert task.cancelled()
    assert not saved.exists()
    assert testbed.results() == {"fit01": Phase.IMAGE}
