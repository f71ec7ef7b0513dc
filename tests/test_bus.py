"""The bus: every subscriber gets every event, in order, then the end."""

import asyncio

import pytest

from rhubarbe.bus import Bus
from rhubarbe.events import Finished, Notice


def notices(*texts):
    return [Notice(text=text) for text in texts]


async def gather(events):
    return [event async for event in events]


async def test_events_come_in_order_then_the_end():
    bus = Bus()
    events = bus.subscribe()
    for event in notices("a", "b", "c"):
        bus.report(event)
    bus.close()
    assert await gather(events) == notices("a", "b", "c")


async def test_each_subscriber_gets_all_from_then_on():
    bus = Bus()
    first = bus.subscribe()
    bus.report(*notices("a"))
    second = bus.subscribe()
    bus.report(*notices("b"))
    bus.close()
    assert await gather(first) == notices("a", "b")
    assert await gather(second) == notices("b")


async def test_a_slow_subscriber_holds_nobody_back():
    bus = Bus()
    slow, quick = bus.subscribe(), bus.subscribe()
    for event in notices(*map(str, range(5000))):
        bus.report(event)
    bus.close()
    async with asyncio.timeout(5):
        assert len(await gather(quick)) == 5000
        assert len(await gather(slow)) == 5000


async def test_a_subscriber_waits_for_the_next_event():
    bus = Bus()
    events = bus.subscribe()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await anext(events)


async def test_nobody_needs_to_listen():
    bus = Bus()
    bus.report(*notices("a"))
    bus.close()


async def test_a_bus_that_has_closed_has_nothing_more_to_say():
    bus = Bus()
    bus.close()
    late = bus.subscribe()
    bus.report(*notices("a"))
    async with asyncio.timeout(5):
        assert await gather(late) == []


async def test_finished_is_the_last_word_whoever_still_speaks():
    bus = Bus()
    events = bus.subscribe()
    finished = Finished(command="load", good="1", bad="", exit_code=0, seconds=1.0, nodes=())
    bus.report(finished)
    bus.report(*notices("somebody else was kept out"))
    bus.close()
    assert await gather(events) == [*notices("somebody else was kept out"), finished]
