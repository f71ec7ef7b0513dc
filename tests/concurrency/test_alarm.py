"""What comes out where something else fails while work is done: everything that did."""

import asyncio

import pytest

from rhubarbe.concurrency.alarm import unless
from rhubarbe.errors import GatewayError, NodeError, Refused

SOON = 5


async def silent():
    await asyncio.Event().wait()


async def sounds(*, when=None, error=None):
    if when:
        await when.wait()
    raise error or GatewayError("the server died")


async def hangs(begun, at_the_end=None):
    begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        if at_the_end:
            raise at_the_end


async def test_work_that_is_done_silences_the_alarm():
    async def work():
        return 7

    async with asyncio.timeout(SOON):
        assert await unless(silent(), work()) == 7
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_alarm_ends_the_work_and_comes_out_as_it_is():
    begun = asyncio.Event()
    async with asyncio.timeout(SOON):
        with pytest.raises(GatewayError, match=r"\Athe server died\Z"):
            await unless(sounds(when=begun), hangs(begun))


async def test_work_that_fails_comes_out_as_it_is():
    error = Refused("no such disk")
    async with asyncio.timeout(SOON):
        with pytest.raises(Refused) as raised:
            await unless(silent(), sounds(error=error))
    assert raised.value is error


async def test_of_two_errors_the_words_of_both_come_out_once():
    begun = asyncio.Event()
    async with asyncio.timeout(SOON):
        with pytest.raises(GatewayError, match=r"\Athe server died; the disk is full\Z"):
            await unless(sounds(when=begun), hangs(begun, NodeError("the disk is full")))
        with pytest.raises(GatewayError, match=r"\Athe server died\Z"):
            begun = asyncio.Event()
            await unless(sounds(when=begun), hangs(begun, NodeError("the server died")))


async def test_a_fault_of_ours_is_not_hidden_behind_an_alarm():
    begun, fault = asyncio.Event(), ZeroDivisionError("ours")
    async with asyncio.timeout(SOON):
        with pytest.raises(ExceptionGroup) as raised:
            await unless(sounds(when=begun), hangs(begun, fault))
    assert raised.value.exceptions[1] is fault
    assert str(raised.value.exceptions[0]) == "the server died"


async def test_who_is_cancelled_ends_both():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def alarm():
        try:
            await silent()
        finally:
            ended.set()

    async with asyncio.timeout(SOON):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(unless(alarm(), hangs(begun)))
            await begun.wait()
            task.cancel()
        assert task.cancelled()
        assert ended.is_set()
