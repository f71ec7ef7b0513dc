"""A load that waits believes a node only when its system booted after the image was written."""

import asyncio
import dataclasses
import time

import pytest
from absent import AbsentDoors, entry

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config import settings as configured
from rhubarbe.config.settings import NetworkingSettings, NodesSettings
from rhubarbe.errors import CommandFailed, ImageError, NodeError, Refused, Unreachable
from rhubarbe.events import NodeNoted, NodeSucceeded, Notice, Phase, PhaseDone, Started
from rhubarbe.gateway.state.journal import Journal
from rhubarbe.node import Node
from rhubarbe.operations.wait import WaitRequest, wait, wait_for_boot

SETTINGS = Settings(networking=NetworkingSettings(ssh_backoff=0.01))
ENTRY = entry()
OLD, NEW = "1000.00 0.00\n", "0.05 0.00\n"
STAMP = "2026-11-25@10:00:00 - image mine"
STAMPS = f"2026-11-24@10:00:00 - node fit01 - image old\n{STAMP}\n"


class System:
    """A node's ssh service, which lets in whoever comes."""

    def __init__(self, ask=None):
        self.ask = ask

    async def log_in(self, limit):
        return "SSH-2.0-any"


@pytest.fixture
def boot():
    """Wait for a node that answers each try as told; return what it tells the bus."""

    async def wait(uptimes, stamps=STAMPS, *, written=STAMP, within=60.0):
        answers = iter(uptimes)
        shown = iter(stamps if isinstance(stamps, list) else [stamps] * 1000)

        async def ask(limit, command):
            answer = next(answers) if command == "cat /proc/uptime" else next(shown)
            if isinstance(answer, Exception):
                raise answer
            return answer

        bus = Bus()
        told = []
        bus.report = told.append
        nodes = NodesSettings(wait_default_timeout=within)
        settings = dataclasses.replace(SETTINGS, nodes=nodes)
        node = Node(ENTRY, AbsentDoors(settings, system=System(ask)), bus)
        await wait_for_boot(node, time.monotonic() - 2, written)
        return told

    return wait


def notes(told):
    return [event.text for event in told if isinstance(event, NodeNoted)]


async def test_a_new_boot_is_believed_and_says_what_it_runs(boot):
    told = await boot([NEW])
    assert notes(told) == ["up for 0 s, runs: 2026-11-25@10:00:00 - image mine"]
    assert isinstance(told[-1], PhaseDone)
    assert told[-1].phase is Phase.SSH


async def test_the_system_that_was_there_before_is_not(boot):
    told = await boot([Unreachable("ssh: refused"), OLD, NEW])
    assert notes(told)[:2] == [
        "ssh: refused",
        "ssh answers, but from a system that was up before the image",
    ]


async def test_one_that_never_reboots_is_bad_and_the_reason_told(boot):
    with pytest.raises(Unreachable, match=r"no proof .* in 0\.5 s \(last: .* was up before"):
        await boot([OLD] * 1000, within=0.5)


async def test_a_refused_key_ends_at_once(boot):
    with pytest.raises(Refused):
        await boot([Refused("no")])


@pytest.mark.parametrize("answer", ["", "long\n"])
async def test_one_that_does_not_say_since_when_it_runs_is_not_believed(boot, answer):
    with pytest.raises(CommandFailed, match="uptime"):
        await boot([answer])


@pytest.mark.parametrize("stamps", ["", CommandFailed("cat: no such file")])
@pytest.mark.parametrize("written", ["", None])
async def test_an_image_need_not_have_a_stamp(boot, stamps, written):
    told = await boot([NEW], stamps, written=written)
    assert notes(told) == ["up for 0 s, runs: an image without a stamp"]


async def test_where_no_stamp_was_read_the_time_of_the_boot_has_to_do(boot):
    assert notes(await boot([OLD, NEW], written=None))[-1] == f"up for 0 s, runs: {STAMP}"


@pytest.mark.parametrize("written", ["2026-11-25@11:00:00 - image mine", STAMP[:-1], ""])
async def test_a_node_that_shows_the_stamp_of_another_system_is_bad_at_once(boot, written):
    with pytest.raises(NodeError) as caught:
        await boot([NEW], written=written)
    assert not isinstance(caught.value, Unreachable)
    named = written or "an image without a stamp"
    assert str(caught.value) == (
        f"it runs another system than was loaded: {STAMP}; the image has: {named}"
    )


async def test_a_node_that_shows_no_stamp_yet_is_asked_again(boot):
    told = await boot([NEW, NEW], [CommandFailed("cat: no such file"), STAMPS])
    assert notes(told)[-1] == f"up for 0 s, runs: {STAMP}"
    with pytest.raises(Unreachable, match=rf"last: .* without the stamp of the image: {STAMP}"):
        await boot([NEW] * 1000, "", within=0.5)


async def test_later_tries_may_take_longer():
    """On a gateway that is busy the first tries are too short."""
    limits = []

    async def ask(limit, command):
        limits.append(limit)
        if len(limits) < 4:
            raise Unreachable("ssh: refused")
        return NEW

    node = Node(ENTRY, AbsentDoors(SETTINGS, system=System(ask)), Bus())
    await wait_for_boot(node, time.monotonic() - 2, None)
    assert limits[0] == SETTINGS.networking.ssh_timeout
    assert limits[0] < limits[1] < limits[2] < limits[3]


async def test_nodes_that_are_away_take_no_turn_of_the_others():
    looks = []

    def listens(entry, port):
        looks.append(doors.sessions.locked())
        return len(looks) > 3

    async def ask(limit, command):
        assert doors.sessions.locked()
        return NEW

    doors = AbsentDoors(SETTINGS, system=System(ask), listens=listens)
    doors.sessions = asyncio.Semaphore(1)
    await wait_for_boot(Node(ENTRY, doors, Bus()), time.monotonic() - 2, None)
    assert looks == [False] * 4


@pytest.mark.parametrize(("key", "said"), [("", 1), ("gateway", 0)])
async def test_a_key_file_that_holds_none_is_named(tmp_path, monkeypatch, key, said):
    """Whether or not another lets us in; but not where none of the user's is asked for."""

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh/id_rsa").mkdir(parents=True)
    settings = Settings(
        networking=NetworkingSettings(ssh_key=key),
        testbed=configured.TestbedSettings(state_dir=str(tmp_path / "state")),
    )
    bus, told = Bus(), []
    bus.report = told.append
    request = WaitRequest(entries=[ENTRY], limit=5, backoff=0.1, user="root")
    await wait(request, settings, bus, AbsentDoors(settings, system=System()))
    assert told[-1].exit_code == 0
    notices = [event.text for event in told if isinstance(event, Notice)]
    words = "passed over: ~/.ssh/id_rsa cannot be used: it is no regular file"
    assert notices.count(words) == said


@pytest.fixture
def waiting(testbed):
    """Return what waits for all the nodes."""

    def work(**options):
        request = WaitRequest(
            entries=testbed.entries, **{"limit": 60.0, "backoff": 0.01, "user": "root"} | options
        )
        return wait(request, testbed.settings, testbed.bus, testbed.doors)

    return work


async def test_nodes_that_let_us_in_are_ready(testbed, waiting):
    await testbed.run(waiting())
    assert testbed.told[0] == Started(command="wait", nodes=("fit01", "fit02", "fit03"))
    assert testbed.finished.good == "1-3"
    assert "accepts ssh: SSH-2.0-any" in notes(testbed.told)


async def test_one_that_refuses_the_key_has_answered_and_is_bad(testbed, waiting):
    testbed.second.spoilt[Phase.SSH] = Refused("does not let us in")
    await testbed.run(waiting())
    assert testbed.results() == {"fit01": None, "fit02": Phase.SSH, "fit03": None}


async def test_who_is_not_up_is_waited_for_and_it_is_told(testbed, waiting):
    testbed.third.runs = ""
    words = "nothing listens on the ssh port yet"
    await testbed.interrupt(
        waiting(), lambda: words in notes(testbed.told) and len(testbed.of(NodeSucceeded)) == 2
    )
    assert testbed.results() == {"fit01": None, "fit02": None, "fit03": Phase.SSH}


async def test_an_interrupt_ends_it_and_is_noted(testbed, waiting):
    testbed.second.spoilt[Phase.SSH] = testbed.hang
    await testbed.interrupt(waiting())
    assert testbed.results()["fit02"] is Phase.SSH


async def test_nodes_in_the_ramdisk_are_ready_where_that_is_waited_for(testbed, waiting):
    for node in testbed.nodes:
        node.runs = "ramdisk"
    await testbed.run(waiting(telnet=True))
    assert testbed.finished.good == "1-3"
    assert all(not node.orders for node in testbed.nodes)


async def test_a_node_is_ready_once_it_shows_the_stamp_of_the_image(testbed, waiting):
    for node in testbed.nodes:
        node.stamps = "2026-11-25@10:00:00 - node fit04 - image other - by alice\n"
    testbed.first.stamps += "2026-11-26@10:00:00 - node fit04 - image lost - by alice\n"
    testbed.second.spoilt[Phase.SSH] = CommandFailed("cat: no such file")
    said = {
        "runs image lost (2026-11-26@10:00:00)",
        "ssh answers, but from a system without a stamp",
        "ssh answers, but from image other (2026-11-25@10:00:00)",
    }
    await testbed.interrupt(waiting(image="lost"), lambda: said <= set(notes(testbed.told)))
    assert testbed.finished.good == "1"


async def test_an_image_without_a_stamp_cannot_be_waited_for(testbed, waiting):
    with pytest.raises(ImageError, match="has no stamp"):
        await waiting(image=str(testbed.image))


async def test_a_wait_removes_the_links_that_a_dead_command_left(testbed, waiting):
    """What a crash of this machine leaves, whoever comes next removes."""
    journal = Journal(testbed.state, "load", 60.0)
    journal._boot = "an earlier one"
    link = testbed.first.link
    async with journal.recorded("fit01", link, "pxefrisbee"):
        link.symlink_to("pxefrisbee")
        await testbed.run(waiting())
    assert testbed.links() == []
    assert any("removed the nextboot link of fit01" in each.text for each in testbed.of(Notice))
