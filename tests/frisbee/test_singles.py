"""Datagrams that come one by one: each is taken for what it is, many by one call."""

import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import Network

from rhubarbe.frisbee.batches import MOST, BatchReceiver
from rhubarbe.frisbee.multicast import Channel, SessionAddress
from rhubarbe.frisbee.packets import BLOCK_BYTES, BLOCK_SIZE, MOST_COMBINED, Ask, Block, encode
from rhubarbe.frisbee.singles import Singles
from rhubarbe.frisbee.trains import Row

SERVER, CLIENT, STRANGER = "127.66.1.1", "127.66.1.2", "127.66.1.3"


@pytest.fixture
def channel():
    with Channel(SessionAddress(SERVER, 0, CLIENT), exclusive=True) as channel:
        channel.without_trains()
        yield channel


@pytest.fixture
def send(channel):
    """Return what sends a datagram to the client, from an address, by the port of the session."""
    sockets = {}
    for address in (SERVER, STRANGER):
        sockets[address] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets[address].bind((address, channel.port))
    yield lambda data, address=SERVER: sockets[address].sendto(data, (CLIENT, channel.port))
    for each in sockets.values():
        each.close()


def block(chunk, number, source=SERVER):
    return encode(
        Block(chunk, number, bytes([number % 251]) * BLOCK_SIZE), socket.inet_aton(source)
    )


def received(channel, server=SERVER):
    """Return what came: a list of (chunk, block) for each row, the bytes of whatever else."""
    told = []
    (ready,) = channel.sockets
    for each in Singles(channel).receive(ready, server, 0.0):
        if isinstance(each, Row):
            places = [(place & 0xFFFFFFFF, place >> 32) for place in each.places]
            for (_, number), at in zip(places, range(0, len(each.data), BLOCK_SIZE), strict=True):
                assert each.data[at : at + BLOCK_SIZE] == bytes([number % 251]) * BLOCK_SIZE
            told.append(places)
        else:
            told.append((bytes(each.data), each.segment, each.address))
    return told


def test_blocks_of_the_server_come_as_one_row(channel, send):
    wanted = [(3, number) for number in range(100)]
    for place in wanted:
        send(block(*place))
    assert received(channel) == [wanted]


def test_more_than_one_call_takes_come_in_several_rows(channel, send):
    wanted = [(number // 1024, number % 1024) for number in range(MOST + 10)]
    for place in wanted:
        send(block(*place))
    assert received(channel) == [wanted[:MOST], wanted[MOST:]]


OTHERS = {
    "empty": b"",
    "a request": encode(Ask(1, 0, 5), socket.inet_aton(SERVER)),
    "another source": block(1, 7, STRANGER),
    "a block that no chunk has": block(1, 1024),
    "a negative chunk": block(-1, 0),
    "half a block": block(1, 7)[:500],
    "another kind": b"\x02" + block(1, 7)[1:],
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_is_none_of_its_blocks_comes_by_itself_and_in_its_turn(channel, send, other):
    for datagram in (block(0, 0), block(0, 1), other, block(0, 2)):
        send(datagram)
    assert received(channel) == [[(0, 0), (0, 1)], (other, len(other) or 1, SERVER), [(0, 2)]]


def test_blocks_of_another_address_come_by_themselves(channel, send):
    send(block(0, 0))
    send(block(0, 1), STRANGER)
    forged = block(0, 1)
    assert received(channel) == [[(0, 0)], (forged, BLOCK_BYTES, STRANGER)]


@pytest.mark.parametrize("more", [1, 4, 128])
def test_one_that_is_longer_than_a_block_comes_by_itself(channel, send, more):
    datagram = block(0, 0) + bytes(more)
    for each in (datagram, block(0, 1), datagram[::-1]):
        send(each)
    assert received(channel) == [
        (datagram, len(datagram), SERVER),
        [(0, 1)],
        (datagram[::-1], len(datagram), SERVER),
    ]


@pytest.mark.parametrize("more", [1, 7, 8, 9, 30_000])
def test_one_that_is_longer_than_any_is_not_taken_for_another(channel, send, more):
    send(block(0, 0) + bytes(2 * MOST_COMBINED + more))
    ((data, segment, address),) = received(channel)
    assert (len(data), address) == (BLOCK_BYTES + 2 * MOST_COMBINED, SERVER)
    assert segment > len(data)


def test_before_the_server_is_known_no_block_is_its(channel, send):
    send(block(0, 0))
    assert received(channel, server="") == [(block(0, 0), BLOCK_BYTES, SERVER)]


def test_nothing_is_nothing(channel):
    assert received(channel) == []


@given(lengths=st.lists(st.integers(0, 1200), min_size=1, max_size=MOST))
def test_datagrams_of_any_length_are_what_was_sent(lengths):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as by,
    ):
        to.bind((CLIENT, 0))
        to.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        sent = [bytes([number % 256]) * length for number, length in enumerate(lengths)]
        for data in sent:
            by.sendto(data, to.getsockname())
        receiver = BatchReceiver()
        got = receiver.receive(to)
        assert got.number == len(sent)
        assert [bytes(got.whole(index)) for index in range(len(sent))] == [
            data[: BLOCK_BYTES + 2 * MOST_COMBINED] for data in sent
        ]
        longest = BLOCK_BYTES + 2 * MOST_COMBINED + 8
        assert got.lengths == [min(length, longest) for length in lengths]
        assert {got.sender(index) for index in range(len(sent))} == {
            ("127.0.0.1", by.getsockname()[1])
        }
        assert receiver.receive(to) is None


@pytest.mark.parametrize("buffers", ["", "-C2"])
def test_a_server_that_sends_one_by_one_is_received(tmp_path, buffers):
    """Also where most of what comes has no buffer, and is asked for again."""
    image = tmp_path / "file"
    image.write_bytes(bytes(range(256)) * 4096 * 5 + b"the end")
    network = Network()
    options = ["-N", *([buffers] if buffers else [])]
    with network.serving(image, "-B", "1", "-G", "0", "-T", "-1"):
        client = network.start_client(0, tmp_path / "disk", *options, stdout=subprocess.DEVNULL)
        _, said = client.communicate(timeout=60)
    assert client.returncode == 0, said
    assert (tmp_path / "disk").read_bytes() == image.read_bytes()
