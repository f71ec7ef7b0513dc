"""Power cards: what they answer, and the ways in which they fail."""

import asyncio
import re

import aiohttp
import pytest

from rhubarbe.testbed.controls import base
from rhubarbe.testbed.faults import parse

REFUSED = re.compile("refused|failed")


@pytest.fixture
async def faulty(make_farm, site_of, request):
    async with make_farm(faults=[parse(f"fit01:{request.param}")]) as farm:
        yield site_of(farm)


def boots(site, node="fit01"):
    return (site.directory / "testbed.log").read_text().count(f"{node} boots")


async def test_the_other_questions(site):
    assert await site.card("fit01", "info") == (200, "card reboot01\nnode fit01\npower on\n")
    assert await site.card("fit01", "usrpstatus") == (200, "usrpoff\n")
    assert await site.card("fit01", "usrpon") == (200, "ok\n")
    assert await site.card("fit01", "usrpstatus") == (200, "usrpon\n")
    assert await site.card("fit02", "usrpstatus") == (200, "usrpoff\n")
    assert (await site.card("fit01", "selfdestruct"))[0] == 404


async def test_no_charset_is_announced(site):
    url = f"http://{site.card_address('fit01')}:{site.hardware('fit01').ports.cmc}/status"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize("faulty", ["card-dead"], indirect=True)
async def test_a_dead_card_refuses(faulty):
    with pytest.raises(aiohttp.ClientConnectorError):
        await faulty.card("fit01", "status")
    assert await faulty.card("fit02", "status") == (200, "on\n")


@pytest.mark.parametrize("faulty", ["card-dead*1"], indirect=True)
async def test_a_card_dies_for_one_command(faulty):
    assert await faulty.card("fit01", "status") == (200, "on\n")
    # without aiohttp, which would ask once more by itself
    port = faulty.hardware("fit01").ports.cmc
    reader, writer = await asyncio.open_connection(faulty.card_address("fit01"), port)
    writer.write(b"GET /reset HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert boots(faulty) == 1
    await faulty.press("fit01", "reset")
    assert boots(faulty) == 2


@pytest.mark.parametrize("faulty", ["card-silent"], indirect=True)
async def test_a_silent_card_accepts_and_never_answers(faulty):
    for verb in ("status", "reset"):
        with pytest.raises(TimeoutError):
            await faulty.card("fit01", verb, limit=0.3)
    assert boots(faulty) == 1


@pytest.mark.parametrize("faulty", ["card-silent*1"], indirect=True)
async def test_a_card_is_silent_to_one_command(faulty):
    assert await faulty.card("fit01", "status") == (200, "on\n")
    with pytest.raises(TimeoutError):
        await faulty.card("fit01", "reset", limit=0.3)
    await faulty.press("fit01", "reset")
    assert boots(faulty) == 2


@pytest.mark.parametrize("faulty", ["card-500"], indirect=True)
async def test_a_card_with_an_internal_error(faulty):
    for verb in ("status", "reset"):
        assert await faulty.card("fit01", verb) == (500, "power controller failure\n")
    assert boots(faulty) == 1


@pytest.mark.parametrize("faulty", ["card-half*1"], indirect=True)
async def test_a_card_that_breaks_off_in_the_middle_has_done_nothing(faulty):
    assert await faulty.card("fit01", "status") == (200, "on\n")
    with pytest.raises(aiohttp.ClientPayloadError):
        await faulty.card("fit01", "reset")
    assert boots(faulty) == 1
    await faulty.press("fit01", "reset")
    assert boots(faulty) == 2


@pytest.mark.parametrize("faulty", ["card-slow", "card-too-slow"], indirect=True)
async def test_a_slow_card_answers_in_the_end(faulty, monkeypatch):
    for fault in base.SLOW_S:
        monkeypatch.setitem(base.SLOW_S, fault, 0.5)
    with pytest.raises(TimeoutError):
        await faulty.card("fit01", "status", limit=0.2)
    assert await faulty.card("fit01", "status") == (200, "on\n")


@pytest.mark.parametrize("faulty", ["card-lies"], indirect=True)
async def test_a_lying_card_does_nothing_and_shows_the_truth(faulty):
    for verb in ("reset", "off"):
        await faulty.press("fit01", verb)
        assert await faulty.card("fit01", "status") == (200, "on\n")
    assert boots(faulty) == 1


@pytest.mark.parametrize("faulty", ["never-leaves"], indirect=True)
async def test_a_node_that_never_leaves_behind_a_card_that_shows_what_was_asked(faulty):
    before = await faulty.ssh("fit01", "cat /proc/sys/kernel/random/boot_id")
    for verb, shown in (("reset", "on"), ("off", "off"), ("on", "on")):
        await faulty.press("fit01", verb)
        assert await faulty.card("fit01", "status") == (200, f"{shown}\n")
    after = await faulty.ssh("fit01", "cat /proc/sys/kernel/random/boot_id")
    assert before.stdout == after.stdout


@pytest.mark.parametrize("faulty", ["never-leaves*1"], indirect=True)
async def test_a_node_that_stays_once_leaves_at_off_and_on(faulty):
    await faulty.press("fit01", "reset")
    assert boots(faulty) == 1
    await faulty.press("fit01", "off")
    assert await faulty.card("fit01", "status") == (200, "off\n")
    await faulty.press("fit01", "on")
    assert boots(faulty) == 2


@pytest.mark.parametrize("faulty", ["never-returns*1"], indirect=True)
async def test_a_node_that_does_not_return_once(faulty):
    await faulty.press("fit01", "reset")
    assert await faulty.card("fit01", "status") == (200, "on\n")
    with pytest.raises(OSError, match=REFUSED):
        await faulty.ssh("fit01", "true")
    await faulty.press("fit01", "reset")
    assert (await faulty.ssh("fit01", "true")).exit_status == 0


async def test_a_slow_boot_takes_so_many_times_as_long(make_farm, site_of):
    fault = parse("fit01:slow-boot*1")
    async with make_farm(faults=[fault], slow_boot=60) as farm:
        site = site_of(farm)
        clock = asyncio.get_running_loop().time
        took = []
        for _ in range(2):
            started = clock()
            await site.press("fit01", "reset")
            took.append(clock() - started)
    assert took[0] > 2.5 > took[1]
