"""A load that waits believes a node only when its system booted after the image was written."""

import asyncio
import time
from dataclasses import replace

import pytest

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import CommandFailed, Refused, Unreachable
from rhubarbe.events import NodeNoted, Phase, PhaseDone
from rhubarbe.inventory import Entry, Interface
from rhubarbe.node import Node
from rhubarbe.operations import wait as wait_module
from rhubarbe.operations.wait import wait_for_boot

QUICK = Settings()
QUICK = replace(
    QUICK,
    networking=replace(QUICK.networking, ssh_backoff=0.01),
    nodes=replace(QUICK.nodes, wait_default_timeout=0.5),
)
INTERFACE = Interface("fit01", "10.0.0.1", "02:00:00:00:00:01")
ENTRY = Entry(1, INTERFACE, INTERFACE, None)
OLD, NEW = "1000.00 0.00\n", "0.05 0.00\n"
STAMPS = "2026-11-24@10:00:00 - node fit01 - image old\n2026-11-25@10:00:00 - image mine\n"


@pytest.fixture(autouse=True)
def listening(monkeypatch):
    """All nodes listen."""

    async def accepts(ip, port, limit):
        return True

    monkeypatch.setattr(wait_module, "accepts", accepts)


@pytest.fixture
def boot(monkeypatch):
    """Wait for a node that answers each try as told; return what it tells the bus."""

    async def wait(uptimes, stamps=STAMPS):
        answers = iter(uptimes)

        async def ask(ip, port, user, key, limit, command):
            answer = next(answers) if command == "cat /proc/uptime" else stamps
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(wait_module, "ask", ask)
        bus = Bus()
        told = []
        bus.report = told.append
        await wait_for_boot(
            Node(ENTRY, QUICK, None, bus), time.monotonic() - 2, QUICK, asyncio.Semaphore(1)
        )
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
        await boot([OLD] * 1000)


async def test_a_refused_key_ends_at_once(boot):
    with pytest.raises(Refused):
        await boot([Refused("no")])


@pytest.mark.parametrize("answer", ["", "long\n"])
async def test_one_that_does_not_say_since_when_it_runs_is_not_believed(boot, answer):
    with pytest.raises(CommandFailed, match="uptime"):
        await boot([answer])


@pytest.mark.parametrize("stamps", ["", CommandFailed("cat: no such file")])
async def test_an_image_need_not_have_a_stamp(boot, stamps):
    assert notes(await boot([NEW], stamps)) == ["up for 0 s, runs: an image without a stamp"]


async def test_later_tries_may_take_longer(monkeypatch):
    """On a gateway that is busy the first tries are too short."""
    limits = []

    async def ask(ip, port, user, key, limit, command):
        limits.append(limit)
        if len(limits) < 4:
            raise Unreachable("ssh: refused")
        return NEW

    monkeypatch.setattr(wait_module, "ask", ask)
    await wait_for_boot(
        Node(ENTRY, QUICK, None, Bus()), time.monotonic() - 2, QUICK, asyncio.Semaphore(1)
    )
    assert limits[0] == QUICK.networking.ssh_timeout
    assert limits[0] < limits[1] < limits[2] < limits[3]


async def test_nodes_that_are_away_take_no_turn_of_the_others(monkeypatch):
    sessions = asyncio.Semaphore(1)
    looks = []

    async def accepts(ip, port, limit):
        looks.append(sessions.locked())
        return len(looks) > 3

    async def ask(ip, port, user, key, limit, command):
        assert sessions.locked()
        return NEW

    monkeypatch.setattr(wait_module, "accepts", accepts)
    monkeypatch.setattr(wait_module, "ask", ask)
    node = Node(ENTRY, QUICK, None, Bus())
    await wait_for_boot(node, time.monotonic() - 2, QUICK, sessions)
    assert looks == [False] * 4
