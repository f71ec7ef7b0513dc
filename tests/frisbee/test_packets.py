import socket
import struct

import pytest
from captures import SESSIONS, datagrams
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.frisbee import packets
from rhubarbe.frisbee.errors import MalformedPacket
from rhubarbe.frisbee.packets import (
    WHOLE_CHUNK,
    Ask,
    AskPart,
    Block,
    Join,
    Join2,
    Joined,
    Joined2,
    Leave,
    Leave2,
    Parity,
    Statistics,
    decode,
    encode,
)
from rhubarbe.frisbee.trains import BlockHeaders, block_places

HERE = socket.inet_aton("10.99.0.11")
IDS = st.integers(0, 2**32 - 1)
CHUNKS = st.integers(0, 2**31 - 1)
SECOND_JOIN = st.tuples(IDS, CHUNKS, CHUNKS, CHUNKS, st.integers(0, 2**64 - 1), st.booleans())
ANY_PACKET = st.one_of(
    st.builds(Join, IDS, st.booleans()),
    st.builds(Joined, CHUNKS, st.booleans()),
    SECOND_JOIN.map(Join2._make),
    SECOND_JOIN.map(Joined2._make),
    st.builds(Leave, IDS, CHUNKS),
    st.tuples(IDS, CHUNKS, CHUNKS).map(
        lambda each: Leave2(each[0], each[1], Statistics(run_seconds=each[2], requests=each[0]))
    ),
    st.builds(Block, CHUNKS, st.integers(0, 1023), st.binary(min_size=1024, max_size=1024)),
    st.integers(0, 1023).flatmap(
        lambda first: st.builds(
            Ask, CHUNKS, st.just(first), st.integers(1, 1024 - first), st.booleans()
        )
    ),
    st.builds(AskPart, CHUNKS, st.sampled_from((0, 1)), st.integers(0, WHOLE_CHUNK), st.booleans()),
    st.builds(
        Parity,
        CHUNKS,
        st.integers(0, 2**16 - 1),
        st.sets(st.integers(0, 1023), min_size=2, max_size=64).map(
            lambda each: tuple(sorted(each))
        ),
        st.binary(min_size=1024, max_size=1024),
    ),
)


@pytest.mark.parametrize("session", SESSIONS)
def test_every_captured_packet_decodes_and_encodes_to_the_same_bytes(session):
    kinds = set()
    for datagram in datagrams(session):
        payload = datagram.payload.ljust(datagram.length, b"\0")
        packet, source = decode(payload)
        assert encode(packet, source)[: len(datagram.payload)] == datagram.payload
        assert socket.inet_ntoa(source) == datagram.source
        kinds.add(type(packet))
    joins = {Join2, Joined2} if session in {"s7", "s8"} else {Join, Joined}
    leaves = set() if session == "s18" else {Leave2}  # its client stops at an assertion
    assert kinds >= {Block, Ask} | joins | leaves


def test_the_statistics_of_a_captured_client_are_those_it_printed():
    (told,) = [
        packet.statistics
        for packet in (decode(each.payload)[0] for each in datagrams("s2") if each.is_whole)
        if isinstance(packet, Leave2)
    ]
    assert (told.run_milliseconds, told.written_bytes, told.effective_bytes) == (
        145,
        11036672,
        33554432,
    )
    assert (told.chunk_buffers, told.read_ahead, told.in_progress, told.tick_us) == (4, 2, 4, 30000)
    assert (told.requests, told.join_attempts, told.writer_idles, told.write_memory_mb) == (
        4,
        1,
        43,
        64,
    )


@given(ANY_PACKET)
def test_a_packet_survives_the_wire(packet):
    decoded, source = decode(encode(packet, HERE))
    assert (type(decoded), decoded, source) == (type(packet), packet, HERE)


@given(ANY_PACKET, st.data())
def test_any_truncation_is_malformed(packet, data):
    datagram = encode(packet, HERE)
    length = 16 + int.from_bytes(datagram[8:12], "little")  # what is behind it is a mark
    with pytest.raises(MalformedPacket):
        decode(datagram[: data.draw(st.integers(0, length - 1))])


@pytest.mark.parametrize(
    "packet",
    [Join(7), Joined(7), Join2(7), Joined2(7, size=7), Ask(7, 0, 5), AskPart(7, 1, 0b1001)],
)
def test_only_the_mark_behind_a_packet_says_that_parity_is_understood(packet):
    plain = encode(packet, HERE)
    marked = encode(packet._replace(parity=True), HERE)
    assert marked == plain + b"xor\x01"  # and `datalen` does not count it
    assert decode(marked)[0].parity
    for other in (b"", b"xor", b"xor\x02", b"xor\x01\0", bytes(4)):
        assert decode(plain + other) == (packet, HERE)


def _parity(chunk, blocks, data=bytes(1024), count=None):
    body = struct.pack(f"<iHH{len(blocks)}H", chunk, 0, count or len(blocks), *blocks) + data
    return struct.pack("<iii4s", 2, 64, len(body), HERE) + body


@pytest.mark.parametrize(
    "datagram",
    [
        _parity(-1, [1, 2]),
        _parity(0, [2, 1]),
        _parity(0, [5, 5]),
        _parity(0, [5, 1024]),
        _parity(0, [5]),
        _parity(0, []),
        _parity(0, range(65)),
        _parity(0, [1, 2, 3], count=2),
        _parity(0, [1, 2], count=3),
        _parity(0, [1, 2], bytes(1023)),
        _parity(0, [1, 2], bytes(1025)),
        _parity(0, [1, 2]) + b"\0",
        b"\1" + _parity(0, [1, 2])[1:],
    ],
)
def test_combined_blocks_are_exactly_what_they_say(datagram):
    with pytest.raises(MalformedPacket):
        decode(datagram)


def test_the_most_combined_blocks_fit_into_a_frame():
    datagram = _parity(3, range(64))
    assert decode(datagram)[0] == Parity(3, 0, tuple(range(64)), bytes(1024))
    assert len(datagram) <= 1500 - 20 - 8


@given(st.binary(max_size=1100))
def test_any_bytes_are_a_packet_or_malformed(datagram):
    try:
        packet, source = decode(datagram)
    except MalformedPacket:
        return
    assert encode(packet, source)[:16] == datagram[:16]


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (16, b"\xff\xff\xff\xff"),
        (20, b"\x00\x04\x00\x00"),
        (24, b"\x01\x04\x00\x00"),
        (24, bytes(4)),
    ],
)
def test_blocks_that_no_chunk_has_are_malformed(offset, value):
    datagram = bytearray(encode(Ask(1, 0, 1024), HERE))
    datagram[offset : offset + 4] = value
    with pytest.raises(MalformedPacket, match="no such blocks"):
        decode(datagram)


def _train(places, source=HERE):
    headers = BlockHeaders(source)
    out = bytearray()
    for chunk, block in places:
        headers.choose(chunk)
        out += bytes(headers.of(block, 1)) + bytes([block % 251]) * 1024
    return out


def test_headers_made_for_a_train_are_those_of_block_packets():
    train = _train([(7, 3), (7, 1023), (2**31 - 1, 0)])
    for start, (chunk, block) in zip(
        (0, 1048, 2096), ((7, 3), (7, 1023), (2**31 - 1, 0)), strict=True
    ):
        packet, source = decode(train[start : start + packets.BLOCK_BYTES])
        assert packet == Block(chunk, block, bytes([block % 251]) * 1024)
        assert source == HERE


def test_the_places_of_a_train_are_read_at_once():
    places = [(7, 3), (7, 4), (9, 1023), (0, 0)]
    words = [chunk | block << 32 for chunk, block in places]
    assert block_places(memoryview(_train(places)), HERE) == words


@pytest.mark.parametrize("offset", [1048 + at for at in (0, 4, 8, 12, 19, 21)])
def test_a_train_with_one_wrong_header_is_not_taken(offset):
    train = _train([(7, 3), (7, 4), (7, 5)])
    train[offset] ^= 0x80
    assert block_places(memoryview(train), HERE) is None
