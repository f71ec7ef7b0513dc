"""A manifest over real sockets: whole, to whom it is for, whoever else reads or does not."""

import asyncio
import contextlib
import os
import socket

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.gateway.services import manifests
from rhubarbe.gateway.services.manifests import offered

NODE, OTHER = "127.0.3.1", "127.0.3.2"
CONTENT = os.urandom(3 << 20)


async def fetched(place, source="127.0.0.1"):
    host, port = place.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.transport.abort()


@contextlib.contextmanager
def stalled(place, source=NODE):
    """Connect, and read nothing."""
    host, port = place.split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.bind((source, 0))
        connection.connect((host, int(port)))
        yield connection


async def ended(connection):
    """Wait until the other side has ended a connection."""
    connection.setblocking(False)  # noqa: FBT003 - a socket's
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while await loop.sock_recv(connection, 1 << 20):
                pass


async def test_nodes_of_the_load_and_this_machine_are_sent_all_of_it():
    async with offered(CONTENT, "127.0.0.1", [NODE, OTHER]) as place:
        async with asyncio.TaskGroup() as group:
            sources = (NODE, OTHER, "127.0.0.1", NODE)
            tasks = [group.create_task(fetched(place, source)) for source in sources]
        assert [task.result() for task in tasks] == [CONTENT] * 4


def test_others_are_sent_nothing():
    service = manifests._Service(CONTENT, [NODE, "10.0.0.7"])
    assert service._most("10.0.0.8", "10.0.0.1") == 0
    assert service._most("10.0.0.7", "10.0.0.1") == manifests.MOST_AT_ONCE
    assert service._most("10.0.0.1", "10.0.0.1") == 2 * manifests.MOST_AT_ONCE


async def test_who_reads_nothing_holds_up_nobody_and_is_cut(monkeypatch):
    monkeypatch.setattr(manifests, "LIMIT_S", 0.5)
    async with offered(CONTENT, "127.0.0.1", [NODE, OTHER]) as place:
        with stalled(place) as one, stalled(place) as two:
            assert await fetched(place, OTHER) == CONTENT
            assert await fetched(place, NODE) == CONTENT
            await ended(one)
            await ended(two)


async def test_of_many_connections_of_one_node_the_newest_is_served():
    async with offered(CONTENT, "127.0.0.1", [NODE]) as place, contextlib.AsyncExitStack() as stack:
        held = [stack.enter_context(stalled(place)) for _ in range(20)]
        assert await fetched(place, NODE) == CONTENT
        for connection in held[:15]:
            await ended(connection)


async def test_it_ends_with_the_load():
    async with offered(CONTENT, "127.0.0.1", [NODE]) as place:
        with stalled(place) as connection:
            pass_on = connection.dup()
    with pass_on:
        await ended(pass_on)
    with pytest.raises(OSError, match=r"refused|reset|Connect"):
        await fetched(place)


async def test_what_is_said_to_it_changes_nothing():
    async with offered(CONTENT, "127.0.0.1", [NODE]) as place:
        host, port = place.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await writer.drain()
        async with asyncio.timeout(20):
            assert await reader.readexactly(100) == CONTENT[:100]
        writer.transport.abort()
        assert await fetched(place) == CONTENT


async def test_an_address_that_is_not_ours_is_said():
    with pytest.raises(GatewayError, match=r"\A192\.0\.2\.1: no manifest can be offered there"):
        async with offered(b"", "192.0.2.1", []):
            raise AssertionError("offered nowhere")
