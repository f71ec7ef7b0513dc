"""One node's ramdisk: when it is believed to be there, and what a shell may say."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from absent import AbsentDoors, entry

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config.settings import NetworkingSettings, NodesSettings, RamdiskShell
from rhubarbe.dialogue import MOST_TOLD
from rhubarbe.displays import wording
from rhubarbe.errors import Mistrusted, Refused, Unreachable
from rhubarbe.events import NodeSaid, Progress
from rhubarbe.inventory import Interface
from rhubarbe.node import Doors, Node
from rhubarbe.node import ramdisk as ramdisk_module

HERE = replace(entry(), control=Interface("fit01", "127.0.0.1", "02:00:00:00:00:01"))


@contextlib.asynccontextmanager
async def talking(words):
    """Serve a shell that says the same for ever; yield the node, and what is told of it."""

    async def shell(reader, writer):
        with contextlib.suppress(OSError):
            while True:
                writer.write(words)
                await writer.drain()

    told = []
    bus = Bus()
    bus.report = told.append
    async with await asyncio.start_server(shell, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = Settings(networking=NetworkingSettings(telnet_port=port, telnet_backoff=0.1))
        yield Node(HERE, Doors(settings), bus), told


@pytest.mark.parametrize(
    "words", [b"line of words\r\n" * 500, b"x" * 5000, b"\r" * 5000, b"a\n" * 9999]
)
@pytest.mark.timeout(300)
async def test_a_shell_without_end_is_left(words):
    """Nor does it fill the log, and another round is of no use."""
    async with talking(words) as (node, told):
        for _ in range(3):
            with pytest.raises(Refused, match="floods its shell"):
                await node.ramdisk._look_for_disk()
    logged = [wording.describe(event) for event in told if not isinstance(event, Progress)]
    assert sum(len(line.encode()) + 25 for line in logged) <= MOST_TOLD + 1000
    assert sum("the rest is not told" in line for line in logged) <= 1


async def test_what_a_shell_says_before_it_is_ready_is_not_for_the_log():
    async with talking(b"booting\r\n") as (node, told), asyncio.timeout(20):
        with pytest.raises(Unreachable):
            await node.ramdisk.wait(0.5)
    assert not [event for event in told if isinstance(event, NodeSaid)]


async def test_who_is_refused_by_ssh_does_not_insist(monkeypatch):
    """OpenSSH would shut out the address."""
    tries = 0

    async def refuse(*_, **__):
        nonlocal tries
        tries += 1
        raise Refused("it takes none of our keys")

    async with talking(b"") as (node, _), asyncio.timeout(20):
        monkeypatch.setattr(node.ramdisk, "_run", refuse)
        with pytest.raises(Unreachable):
            await node.ramdisk.wait(0.5)
    assert tries == 1


@pytest.mark.parametrize(
    ("limit", "answers", "is_over"),
    [
        (None, ["its host key is A", "its host key is A"], True),  # the ramdisk's own is wrong
        (None, ["its host key is A", None], False),  # the old system was still there
        (None, ["its host key is A", "its host key is B", None], False),
        (5, ["its host key is A", "its host key is A", None], False),  # nobody has reset it
    ],
)
async def test_a_wrong_host_key_after_a_reset_is_believed_the_second_time(
    monkeypatch, limit, answers, is_over
):
    left = list(answers)

    async def answer(*_, **__):
        if (words := left.pop(0)) is not None:
            raise Mistrusted(words)

    monkeypatch.setattr(ramdisk_module, "FORGIVEN_S", 0.01)
    settings = Settings(
        nodes=NodesSettings(ramdisk_shell=RamdiskShell.SSH, timeout_before_telnet=30),
        networking=NetworkingSettings(telnet_backoff=0.01),
    )
    node = Node(entry(), AbsentDoors(settings), Bus())
    monkeypatch.setattr(node.ramdisk, "_run", answer)
    if is_over:
        with pytest.raises(Mistrusted, match="its host key is A"):
            await node.ramdisk.wait(limit)
    else:
        await node.ramdisk.wait(limit)
    assert left == []
