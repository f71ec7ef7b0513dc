"""Power controls of a testbed: which node has which, and what all kinds have in common."""

import asyncio
import json
import math
import socket

import pytest

from rhubarbe.annexe.errors import MissingProgram, Misused
from rhubarbe.testbed import controls, programs
from rhubarbe.testbed.boot import Key
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import base, bridge, halves, outside
from rhubarbe.testbed.controls.base import Switch
from rhubarbe.testbed.controls.daemons import switching
from rhubarbe.testbed.faults import OF_WAYS_TO_CONTROLS, Faults, parse
from rhubarbe.testbed.site import Plan


class Machine:
    """What is switched."""

    def __init__(self, **faults):
        self.name = "fit01"
        self.has_power = True
        self.faults = Faults({name.replace("_", "-"): times for name, times in faults.items()})

    def press(self, key):
        self.has_power = key is not Key.OFF


def switch(**faults):
    return Switch(Names(1, 1), "127.0.0.1", Machine(**faults), lambda text: None)


def test_nodes_have_the_kinds_in_turn(tmp_path):
    plan = Plan(directory=tmp_path, numbers=[2, 3, 7, 41], power=["cmc", "other", "third"])
    assert list(map(plan.power_of, plan.numbers)) == ["cmc", "other", "third", "cmc"]


@pytest.mark.parametrize("text", ["", "cmc,", "cmc, cmc", "smoke", "cmc;cmc"])
def test_a_kind_that_there_is_not_is_told(text):
    with pytest.raises(Misused, match=r"unknown power control .*: one of cmc"):
        controls.parse(text)


@pytest.mark.parametrize("kind", controls.KINDS)
def test_every_kind_is_of_the_table(kind):
    assert controls.parse(kind) == [kind]
    assert controls.named(kind).faults <= OF_WAYS_TO_CONTROLS


async def test_a_fault_that_a_kind_cannot_have_is_refused(make_farm):
    with pytest.raises(Misused, match="card-refuses cannot be made to happen to power by cmc"):
        async with make_farm(faults=[parse("fit01:card-refuses")]):
            pass


@pytest.mark.parametrize("kind", controls.KINDS)
async def test_each_kind_is_served_with_every_fault_that_it_can_have(make_farm, kind):
    try:
        controls.named(kind).check()
    except MissingProgram as error:
        pytest.skip(str(error))
    for number, fault in enumerate(sorted(controls.named(kind).faults)):
        faults = [parse(f"fit01:{fault}")]
        async with make_farm(
            numbers=[1], name=f"site{number}", power=[kind], faults=faults
        ) as farm:
            assert (farm.directory / "inventory.json").exists()


async def test_the_inventory_says_nothing_of_cards(site):
    entries = json.loads((site.directory / "inventory.json").read_text())
    assert all("power" not in entry for entry in entries)


async def test_a_control_that_is_late_shows_what_was_before(monkeypatch):
    monkeypatch.setattr(base, "LATE_S", 0.05)
    late = switch(card_late=1)
    late.press(Key.OFF)
    assert late.shows_power
    async with asyncio.timeout(10):
        while late.shows_power:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.01)
    late.press(Key.ON)
    assert late.shows_power


async def ask(path, verb):
    return await asyncio.to_thread(outside.ask, str(path), "fit01", verb)


async def test_programs_of_others_reach_a_switch(tmp_path):
    path = tmp_path / ("long" * 30) / "power"
    path.parent.mkdir()
    async with bridge.bridged(path, [switch()]):
        assert [await ask(path, verb) for verb in ("status", "off", "status")] == [
            "on",
            "ok",
            "off",
        ]
        assert await programs.run(switching(path, "command", "fit01", "on")) == b"ok\n"
        assert await ask(path, "status") == "on"
        for nonsense in ("explode", "", "on off"):
            with pytest.raises(ConnectionResetError):
                await ask(path, nonsense)
        assert path.stat().st_mode & 0o777 == 0o600


async def test_faults_of_the_way_happen_to_programs_of_others(tmp_path):
    path = tmp_path / "power"
    bad = switch(card_dead=1, card_500=1, card_refuses=1, card_half=1)
    async with bridge.bridged(path, [bad]):
        with pytest.raises(ConnectionResetError):
            await ask(path, "off")
        answers = [await ask(path, "off") for _ in range(3)]
        assert answers == ["card-500", "card-refuses", "card-half"]
        assert await ask(path, "off") == "ok"


async def test_a_program_that_breaks_off_prints_half_a_line(tmp_path):
    path = tmp_path / "power"
    async with bridge.bridged(path, [switch(card_half=math.inf)]):
        assert await programs.run(switching(path, "command", "fit01", "status")) == b"o"


async def test_answers_by_udp_are_cut():
    loop = asyncio.get_running_loop()
    server, near, client = (
        socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(3)
    )
    with server, client:
        with near:
            for each in (server, near):
                each.bind(("127.0.0.1", 0))
            place = near.getsockname()
        with halves.halved(place, server.getsockname()):
            client.connect(place)
            for asked in (b"one", b"two"):
                client.send(asked)
                async with asyncio.timeout(10):
                    heard, whom = await loop.sock_recvfrom(server, 99)
                    assert heard == asked
                    server.sendto(b"whole answer", whom)
                    assert await loop.sock_recv(client, 99) == b"whole "


async def test_one_that_is_silent_holds_the_end_of_the_testbed_up_no_longer(tmp_path):
    path, said = tmp_path / "power", []
    silent = Switch(Names(1, 1), "127.0.0.1", Machine(card_silent=1), said.append)

    async def hear():
        with pytest.raises(ConnectionResetError):
            await ask(path, "off")

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        async with bridge.bridged(path, [silent]):
            asking = group.create_task(hear())
            async with asyncio.timeout(10):
                while not said:  # noqa: ASYNC110 - no event tells it
                    await asyncio.sleep(0.01)
            assert said == ["fit01 card off meets card-silent"]
            assert not asking.done()
        await asking
