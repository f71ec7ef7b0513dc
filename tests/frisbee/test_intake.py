"""What a client makes of datagrams before it knows the server."""

import socket
from types import SimpleNamespace

import pytest

from rhubarbe.frisbee.chunks import ChunkBuffers
from rhubarbe.frisbee.intake import Intake
from rhubarbe.frisbee.multicast import Arrival
from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    BLOCK_SIZE,
    Block,
    Join,
    Joined,
    Packet,
    Parity,
    encode,
)
from rhubarbe.frisbee.peers import Peers
from rhubarbe.frisbee.receiving import Receiver
from rhubarbe.frisbee.tuning import Tuning

SERVER, CLIENT, PORT = "10.0.0.1", "10.0.0.2", 10001
SESSION_OF_A_LONG_TIME = 50_000  # datagrams


class Client:
    """All of a client but its sockets; ``deaf`` is whom the kernel was told not to hear."""

    def __init__(self):
        self.deaf = set()
        channel = SimpleNamespace(
            port=PORT,
            session=SimpleNamespace(group="234.5.6.7", interface=CLIENT),
            deaf_to=self.deaf.update,
        )
        self.receiver = Receiver(7, Tuning(), now=0.0)
        self.intake = Intake(
            channel, self.receiver, ChunkBuffers(), Peers(), lambda _: None, lambda _: None
        )

    def take(self, packet, now, times=1):
        data = memoryview(encode(packet, socket.inet_aton(SERVER)) * times)
        self.intake.take(Arrival(data, len(data) // times, SERVER, PORT), now)


@pytest.fixture
def client():
    return Client()


@pytest.mark.parametrize("length", [1, 60])
def test_blocks_of_a_session_that_it_has_not_joined_yet_are_no_flood(client, length):
    block = Block(0, 0, bytes(BLOCK_SIZE))
    assert len(encode(block, bytes(4))) == BLOCK_BYTES
    for _ in range(SESSION_OF_A_LONG_TIME // length):
        client.take(block, 0.1, length)
    client.take(Joined(4096), 0.1)
    assert not client.deaf
    assert client.receiver.joined


@pytest.mark.parametrize("combined", [2, 64])
def test_nor_are_combined_blocks_of_it(client, combined):
    packet = Parity(0, 0, tuple(range(combined)), bytes(BLOCK_SIZE))
    for _ in range(SESSION_OF_A_LONG_TIME):
        client.take(packet, 0.1)
    assert not client.deaf


def test_other_packets_are_a_flood_at_any_time(client):
    for _ in range(SESSION_OF_A_LONG_TIME):
        client.take(Joined(0), 0.1)
    assert client.deaf == {SERVER}


@pytest.mark.parametrize(
    "missed", [Block(0, 0, bytes(BLOCK_SIZE)), Parity(0, 0, (0, 9), bytes(BLOCK_SIZE))]
)
def test_it_asks_to_join_again_soon_while_it_misses_blocks(client, missed: Packet):
    assert client.receiver.poll(0.0) == [Join(7)]
    assert client.receiver.deadline() == 0.5
    client.take(missed, 0.01)
    assert client.receiver.deadline() == 0.05
    assert client.receiver.poll(0.05) == [Join(7)]
    assert client.receiver.deadline() == 0.55
    client.take(Block(0, 1, bytes(BLOCK_SIZE)), 0.3)
    assert client.receiver.poll(0.3, more=True) == []
    assert client.receiver.poll(0.3) == [Join(7)]
