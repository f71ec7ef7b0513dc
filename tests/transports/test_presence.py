"""Who accepts connections, and that a node is seen to go away."""

import asyncio
import contextlib

import pytest

from rhubarbe.transports.presence import Presence, accepts

IP = "127.0.0.1"


class Port:
    """A port that accepts connections, until it is closed."""

    def __init__(self):
        self.looks = 0
        self.closed = asyncio.Event()

    async def serve(self, reader, writer):
        self.looks += 1
        await reader.read()
        self.closed.set()


@pytest.fixture
def open_port(listening):
    @contextlib.asynccontextmanager
    async def opened():
        port = Port()
        async with contextlib.AsyncExitStack() as stack:
            port.number = await stack.enter_async_context(listening(port.serve))
            port.close = stack.aclose
            yield port

    return opened


async def test_accepts_tells_who_listens(open_port, free_port):
    async with open_port() as port:
        assert await accepts(IP, port.number, 1)
    assert not await accepts(IP, free_port, 1)


async def test_a_look_leaves_no_connection(open_port):
    async with open_port() as port, asyncio.timeout(10):
        assert await accepts(IP, port.number, 1)
        await port.closed.wait()


async def test_a_look_is_bounded(monkeypatch):
    async def never(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", never)
    async with asyncio.timeout(10):
        assert not await accepts(IP, 1, 0.05)


async def test_what_answers_is_observed(open_port, free_port):
    async with open_port() as port:
        assert await Presence.observe(IP, (port.number, free_port), 1)
    assert not await Presence.observe(IP, (free_port,), 1)
    assert not await Presence.observe(IP, (), 1)


async def test_a_node_that_stays_does_not_depart(open_port):
    async with open_port() as port:
        presence = await Presence.observe(IP, (port.number,), 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await presence.departed(0.01)
        assert port.looks > 2


async def test_a_node_departs_once_nothing_answers_any_more(open_port):
    async with open_port() as telnet, open_port() as ssh, asyncio.TaskGroup() as group:
        presence = await Presence.observe(IP, (telnet.number, ssh.number), 1)
        departure = group.create_task(presence.departed(0.01))
        await telnet.close()
        looks = ssh.looks
        while ssh.looks < looks + 3:  # noqa: ASYNC110 - a count of another's looks
            await asyncio.sleep(0.01)
        assert not departure.done()
        await ssh.close()
        async with asyncio.timeout(5):
            await departure


async def test_what_did_not_answer_before_does_not_count(open_port, free_port):
    async with open_port() as telnet:
        presence = await Presence.observe(IP, (telnet.number, free_port), 1)
        await telnet.close()
        async with asyncio.timeout(5):
            await presence.departed(0.01)
