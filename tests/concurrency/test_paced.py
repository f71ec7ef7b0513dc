"""A limit of time follows the pace of what it is for."""

import asyncio

import pytest

from rhubarbe.concurrency import paced
from rhubarbe.concurrency.paced import TimeLimit


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(paced, "LOOK_EVERY_S", 0.01)


async def test_work_that_has_nothing_has_all_time_until_it_has_something():
    limit, pace = TimeLimit(0.3), 0.0
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        async with limit.timeout:
            with limit.following(lambda: pace):
                await asyncio.sleep(0.6)
                pace = 1.0
                await asyncio.sleep(20)
    assert limit.seconds == pytest.approx(asyncio.get_running_loop().time() - began, rel=0.5)
    assert limit.seconds > 0.6


async def test_work_that_has_all_it_asked_for_has_no_more_time():
    limit = TimeLimit(0.1)
    with pytest.raises(TimeoutError):
        async with limit.timeout:
            with limit.following(lambda: 1.0):
                await asyncio.sleep(20)
    assert limit.seconds == 0.1


async def test_no_limit_stays_none_and_one_that_is_over_is_over():
    endless, over = TimeLimit(None), TimeLimit(0)
    async with endless.timeout:
        endless.give(5)
    assert endless.seconds is None
    with pytest.raises(TimeoutError):
        async with over.timeout:
            await asyncio.sleep(20)
    over.give(5)
    assert over.seconds == 0
