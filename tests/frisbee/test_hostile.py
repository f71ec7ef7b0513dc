"""Malformed, foreign and hostile packets: no session stops, no memory grows, no byte is wrong."""

import random
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhubarbe.frisbee.chunks import ChunkBuffers, store_parity, store_train
from rhubarbe.frisbee.errors import MalformedPacket
from rhubarbe.frisbee.fetching import Fetching
from rhubarbe.frisbee.multicast import Arrival, Channel, SessionAddress
from rhubarbe.frisbee.packets import (
    BLOCK_SIZE,
    Ask,
    AskPart,
    Block,
    Join,
    Joined,
    Joined2,
    Leave,
    Parity,
    decode,
    encode,
)
from rhubarbe.frisbee.receiving import Receiver
from rhubarbe.frisbee.report import LineReport
from rhubarbe.frisbee.sending import Sender
from rhubarbe.frisbee.trains import BlockHeaders
from rhubarbe.frisbee.tuning import Tuning

SERVER, FOREIGN = "127.0.0.1", "127.6.6.6"
HOSTILE = st.one_of(
    st.binary(max_size=1100),
    st.builds(
        lambda kind, subtype, length, rest: (
            struct.pack("<iii4s", kind, subtype, length, b"\x7f\6\6\6") + rest
        ),
        st.integers(-1, 3),
        st.integers(-1, 9) | st.just(64),
        st.integers(-(2**31), 2**31 - 1),
        st.binary(max_size=1040),
    ),
    st.builds(
        lambda chunk, block, count: struct.pack(
            "<iii4siii", 1, 4, 12, b"\x7f\6\6\6", chunk, block, count
        ),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-2, 1026),
        st.integers(-2, 1026),
    ),
    st.builds(
        lambda chunk, left, count, blocks, size: (
            struct.pack(
                f"<iii4siHH{len(blocks)}H",
                *(2, 64, 8 + 2 * len(blocks) + size, b"\x7f\6\6\6", chunk, left, count, *blocks),
            )
            + bytes(size)
        ),
        st.integers(-2, 2),
        st.integers(0, 2**16 - 1),
        st.integers(0, 70),
        st.lists(st.integers(0, 1030), max_size=70),
        st.integers(1020, 1030) | st.just(1024),
    ),
)


@given(st.lists(HOSTILE, max_size=30))
def test_the_server_machine_serves_on(datagrams):
    sender = Sender(3_000_000, 0.0)
    for datagram in datagrams:
        try:
            sender.receive(decode(datagram)[0], FOREIGN, 0.0)
        except MalformedPacket:
            continue
    sender.receive(Join(7), "10.0.0.1", 1.0)
    sender.receive(Ask(1), "10.0.0.1", 1.0)
    sent = set()
    while (train := sender.next_train(62, 1.0)) is not None:
        assert 0 <= train.chunk < sender.chunks
        assert all(sender.valid(train.chunk) >> block & 1 for block in train.blocks)
        sent.update((train.chunk, block) for block in train.blocks)
    assert {(1, block) for block in range(1024)} <= sent


@pytest.fixture(scope="module")
def channel():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.6.6.5", 0))
        port = probe.getsockname()[1]
    with Channel(SessionAddress("239.6.6.6", port, "127.6.6.5"), exclusive=False) as channel:
        yield channel


class Store:
    """A disk that keeps chunks."""

    def __init__(self):
        self.chunks = {}

    def submit(self, index, chunk):
        self.chunks[index] = bytes(chunk)

    def check(self):
        pass


def _blocks(source, image, places):
    headers = BlockHeaders(socket.inet_aton(source))
    out = b""
    for chunk, block in places:
        headers.choose(chunk)
        at = (chunk * 1024 + block) * BLOCK_SIZE
        out += bytes(headers.of(block, 1)) + image[at : at + BLOCK_SIZE]
    return out


def _arrive(fetching, channel, data, *, segment=1048, address=SERVER, port=None):
    view = memoryview(bytearray(data))
    arrival = Arrival(view, segment or len(data) or 1, address, port or channel.port)
    fetching.intake.take(arrival, 1.0)


@settings(max_examples=40)
@given(st.lists(HOSTILE, max_size=20), st.integers(0, 2**32))
def test_no_hostile_packet_writes_a_byte(channel, datagrams, seed):
    chance = random.Random(seed)
    image = chance.randbytes(1 << 20)
    disk = Store()
    with Fetching(channel, Tuning(), LineReport(2, 0.0)) as fetching:
        fetching._disk = disk
        _arrive(fetching, channel, encode(Joined(1024), socket.inet_aton(SERVER)), segment=0)
        evil = bytes(1 << 20)
        forged = Parity(0, 0, (0, 1023), bytes(1024))
        attacks = [
            {
                "data": _blocks(FOREIGN, evil, [(0, block) for block in range(20)]),
                "address": FOREIGN,
            },
            {"data": _blocks(SERVER, evil, [(0, 0), (0, 1)]), "address": FOREIGN},
            {"data": _blocks(FOREIGN, evil, [(0, 0), (0, 1)])},
            {"data": _blocks(SERVER, evil, [(0, 0)]), "port": 1 + channel.port % 60000},
            {"data": _blocks(SERVER, evil, [(0, 5)])[:-1], "segment": 0},
            {"data": encode(forged, socket.inet_aton(FOREIGN)), "address": FOREIGN, "segment": 0},
            {"data": encode(forged, socket.inet_aton(SERVER)), "address": FOREIGN, "segment": 0},
            {"data": encode(forged, socket.inet_aton(SERVER)) + b"\0", "segment": 0},
            {"data": encode(forged, socket.inet_aton(SERVER))[:-1], "segment": 0},
            {"data": encode(forged._replace(chunk=1), socket.inet_aton(SERVER)), "segment": 0},
            {"data": encode(Joined(99), socket.inet_aton(SERVER)), "segment": 0},
            {"data": encode(Joined2(fetching.id, size=1), socket.inet_aton(SERVER)), "segment": 0},
            {"data": encode(Leave(fetching.id, 1), socket.inet_aton(FOREIGN)), "address": FOREIGN},
            *({"data": datagram, "address": FOREIGN, "segment": 0} for datagram in datagrams),
        ]
        for start in range(0, 1024, 32):
            _arrive(fetching, channel, **chance.choice(attacks))
            places = [(0, block) for block in range(start, start + 32)]
            _arrive(fetching, channel, _blocks(SERVER, image, places))
            _arrive(fetching, channel, **chance.choice(attacks))
        assert fetching.receiver.has_all
        assert fetching.receiver.size == 1 << 20
    assert disk.chunks == {0: image}


def test_trains_of_scattered_and_repeated_blocks_land_where_they_belong():
    image = random.Random(1).randbytes(2 << 20)
    receiver, buffers = Receiver(7, Tuning(), now=0.0), ChunkBuffers()
    receiver.receive(Joined(2048), 0.0)
    places = [(chunk, block) for chunk in (0, 1) for block in range(1024)]
    places += places[:300]
    random.Random(2).shuffle(places)
    completed = []
    for start in range(0, len(places), 62):
        data = _blocks(SERVER, image, places[start : start + 62])
        completed += store_train(memoryview(data), socket.inet_aton(SERVER), receiver, buffers, 1.0)
    assert sorted(completed) == [0, 1]
    assert bytes(buffers.of(0).data) + bytes(buffers.of(1).data) == image


def test_a_flood_of_requests_does_not_make_the_queue_grow():
    sender = Sender(50 << 20, 0.0)
    chance = random.Random(3)
    for _ in range(20_000):
        chunk = chance.randrange(50)
        packet = (
            Ask(chunk) if chance.random() < 0.3 else AskPart(chunk, 1, chance.getrandbits(1024) | 1)
        )
        sender.receive(packet, FOREIGN, 0.0)
    assert sender.counters.longest_queue <= 50
    assert sender.counters.most_blocks <= 50 * 1024


@pytest.mark.parametrize("runs", [2000, pytest.param(60_000, marks=pytest.mark.full)])
def test_mutated_combinations_are_right_or_no_packets(runs):
    chance = random.Random(7)
    receiver, buffers = Receiver(7, Tuning(), now=0.0), ChunkBuffers()
    receiver.receive(Joined(1500, parity=True), 0.0)
    receiver.store(1, (1 << 400) - 1, 0.0)
    accepted = 0
    for _ in range(runs):
        blocks = tuple(sorted(chance.sample(range(600), chance.randint(2, 64))))
        whole = encode(Parity(1, 3, blocks, bytes(1024)), socket.inet_aton(SERVER))
        datagram = bytearray(whole)
        for _ in range(chance.randint(0, 3)):
            datagram[chance.randrange(24 + 2 * len(blocks))] = chance.randrange(256)
        if chance.random() < 0.2:
            del datagram[chance.randrange(len(datagram)) :]
        if chance.random() < 0.2:
            datagram += bytes(chance.randint(1, 9))
        try:
            packet, _ = decode(datagram)
        except MalformedPacket:
            continue
        if isinstance(packet, Parity):
            accepted += 1
            assert list(packet.blocks) == sorted(set(packet.blocks))
            assert len(datagram) == 16 + 8 + 2 * len(packet.blocks) + 1024
            before = receiver.missing(1)
            store_parity(packet, receiver, buffers, 0.0)
            gained = before ^ receiver.missing(1)
            lacked = [block for block in packet.blocks if before >> block & 1]
            assert gained == (1 << lacked[0] if gained else 0)
            assert not gained or (len(lacked) == 1 and packet.chunk == 1)
    assert accepted > runs // 10


def test_a_block_needs_all_its_bytes():
    datagram = encode(Block(0, 0, bytes(1024)), socket.inet_aton(SERVER))
    with pytest.raises(MalformedPacket):
        decode(datagram[:-1])
