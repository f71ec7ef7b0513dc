"""The ways to the nodes of one command: not all of them are gone at once."""

import asyncio

import pytest

from rhubarbe.node.doors import Turns


async def test_resets_take_turns(monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    turns = Turns(2)
    for _ in range(6):
        await turns.take()
    assert waits == pytest.approx([1, 1, 2, 2], abs=0.1)
