"""Who accepts connections, and that a node is seen to go away."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from rhubarbe.transports.presence import Presence, accepts

IP = "127.0.0.1"


def descriptors():
    return sorted(link.name for link in Path("/proc/self/fd").iterdir())


class Port:
    """A port that accepts connections, until it is closed."""

    def __init__(self, listener):
        self._listener = listener
        self.number = listener.getsockname()[1]

    def connections(self):
        """Count the connections that the server gets to see."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count

    def close(self):
        self._listener.close()


@pytest.fixture
def open_port():
    @contextlib.contextmanager
    def opened():
        with socket.create_server((IP, 0)) as listener:
            listener.settimeout(0)
            yield Port(listener)

    return opened


async def test_accepts_tells_who_listens(open_port, free_port):
    with open_port() as port:
        assert await accepts(IP, port.number, 1)
    assert not await accepts(IP, free_port, 1)


async def test_the_server_does_not_hear_of_a_look(open_port):
    """OpenSSH counts connections without a login, and then refuses the address."""
    with open_port() as port:
        for _ in range(20):
            assert await accepts(IP, port.number, 1)
        # A machine that stands still for 0.2 s in between lets one through.
        assert port.connections() < 5
        with socket.create_connection((IP, port.number)):
            assert port.connections() == 1


async def test_a_look_leaves_no_descriptor(open_port, free_port):
    with open_port() as port:
        before = descriptors()
        for number in (port.number, free_port):
            await accepts(IP, number, 1)
        assert descriptors() == before


async def test_a_look_is_bounded(monkeypatch):
    async def never(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    async with asyncio.timeout(10):
        assert not await accepts(IP, 1, 0.05)


async def test_what_answers_is_observed(open_port, free_port):
    with open_port() as port:
        assert await Presence.observe(IP, (port.number, free_port), 1)
    assert not await Presence.observe(IP, (free_port,), 1)
    assert not await Presence.observe(IP, (), 1)


async def test_a_node_that_stays_does_not_depart(open_port):
    with open_port() as port:
        presence = await Presence.observe(IP, (port.number,), 1)
        assert not await presence.has_left()


async def test_a_node_departs_once_nothing_answers_any_more(open_port):
    with open_port() as telnet, open_port() as ssh:
        presence = await Presence.observe(IP, (telnet.number, ssh.number), 1)
        telnet.close()
        assert not await presence.has_left()
        ssh.close()
        assert await presence.has_left()


async def test_what_did_not_answer_before_does_not_count(open_port, free_port):
    with open_port() as telnet:
        presence = await Presence.observe(IP, (telnet.number, free_port), 1)
        telnet.close()
        assert await presence.has_left()
