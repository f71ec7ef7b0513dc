"""The machines against what the original programs said to each other."""

import random
import socket
from collections import Counter

import pytest
from captures import SERVER, datagrams, stored_image

from rhubarbe.frisbee.chunks import ChunkBuffers, store_train
from rhubarbe.frisbee.packets import (
    BLOCK_SIZE,
    Ask,
    AskPart,
    Block,
    Join,
    Join2,
    Joined,
    Joined2,
    decode,
    encode,
)
from rhubarbe.frisbee.receiving import Receiver
from rhubarbe.frisbee.sending import Sender
from rhubarbe.frisbee.trains import BlockHeaders
from rhubarbe.frisbee.tuning import Tuning

ADDRESS = socket.inet_aton(SERVER)
SIZES = {"s1": 1 << 20, "s5": 4 << 20, "s7": 3_000_000, "s8": 2_098_176, "s12": 5 << 20}
REPLAYED = ["s1", "s2", "s3", "s5", "s7", "s8", "s9", "s12"]


def _decoded(session):
    for each in datagrams(session):
        yield each, decode(each.payload.ljust(each.length, b"\0"))[0]


def _recorded_blocks(session):
    return Counter(
        (packet.chunk, packet.block) for _, packet in _decoded(session) if isinstance(packet, Block)
    )


@pytest.mark.parametrize("session", REPLAYED)
def test_the_server_answers_recorded_requests_with_the_recorded_blocks(session):
    size = SIZES.get(session, 4 << 20)
    sender = Sender(size, 0.0)
    headers = BlockHeaders(ADDRESS)
    sent = Counter()
    replies = []
    for each, packet in _decoded(session):
        if isinstance(packet, Joined | Joined2):
            assert encode(replies.pop(0), ADDRESS) == each.payload
        elif isinstance(packet, Block):
            train = sender.next_train(1, each.time)
            if train is not None:  # else the recorded server was still busy with what we had merged
                sent[train.chunk, train.blocks[0]] += 1
                headers.choose(train.chunk)
                assert len(headers.of(train.blocks[0], 1)) == 24
        else:
            reply = sender.receive(packet, each.source, each.time)
            replies += [reply] if reply else []
    recorded = _recorded_blocks(session)
    assert set(sent) == set(recorded)
    assert sent.total() <= recorded.total()


def test_blocks_made_for_a_train_are_the_recorded_bytes():
    image = stored_image("d4-raw")
    headers = BlockHeaders(ADDRESS)
    for each in datagrams("s1"):
        packet, _ = decode(each.payload)
        if isinstance(packet, Block):
            headers.choose(packet.chunk)
            at = (packet.chunk * 1024 + packet.block) * BLOCK_SIZE
            made = bytes(headers.of(packet.block, 1)) + image[at : at + BLOCK_SIZE]
            assert made == each.payload


def _complete(receiver, size, source, drop):
    """Serve a receiving machine from memory until it has all; return what it asked for, and got."""
    sender = Sender(len(source), 0.0)
    headers = BlockHeaders(ADDRESS)
    buffers = ChunkBuffers()
    chance = random.Random(1)
    asked, got, now = [], bytearray(size), 0.0
    while not receiver.finished:
        assert now < 60
        for packet in receiver.poll(now):
            asked.append(packet)
            reply = sender.receive(packet, "10.99.0.11", now)
            if reply is not None:
                receiver.receive(reply, now)
        train = sender.next_train(62, now)
        now += 0.001
        if train is None:
            continue
        headers.choose(train.chunk)
        data = bytearray()
        for block in train.blocks:
            at = (train.chunk * 1024 + block) * BLOCK_SIZE
            if chance.random() >= drop:
                data += bytes(headers.of(block, 1)) + source[at : at + BLOCK_SIZE].ljust(
                    1024, b"\0"
                )
        for chunk in store_train(memoryview(data), ADDRESS, receiver, buffers, now):
            piece = bytes(buffers.of(chunk).data)[: size - (chunk << 20)]
            got[chunk << 20 : (chunk << 20) + len(piece)] = piece
            buffers.release(chunk)
            receiver.written(now)
    return asked, bytes(got)


@pytest.mark.parametrize("drop", [0, 0.05, 0.5])
@pytest.mark.parametrize("raw", [False, True])
def test_the_client_completes_and_asks_in_the_recorded_manner(drop, raw):
    size = 3_000_000 if raw else 4 << 20
    source = random.Random(2).randbytes(size)
    receiver = Receiver(7, Tuning(buffers=3), now=0.0, raw=raw)
    asked, got = _complete(receiver, size, source, drop)
    assert got == source
    kinds = {type(packet) for packet in asked}
    join = Join2 if raw else Join
    assert kinds == {join, Ask, AskPart} if drop else {join, Ask}
    assert type(asked[0]) is join
    for packet in asked[1:]:
        decode(encode(packet, ADDRESS))  # legal ranges
        assert packet.chunk < receiver.chunks
        assert packet.blocks & ~receiver.valid(packet.chunk) == 0
    whole = [packet for packet in asked if isinstance(packet, Ask)]
    assert len(whole) == len({packet.chunk for packet in whole})  # a second time is by map


@pytest.mark.parametrize(("session", "drop"), [("s1", 0.0), ("s1", 0.05)])
def test_the_client_completes_from_recorded_blocks(session, drop):
    """A captured session played to our client; what is dropped it asks of a server of ours."""
    recorded = b"".join(
        each.payload[24:] for each, packet in _decoded(session) if isinstance(packet, Block)
    )
    assert recorded == stored_image("d4-raw")
    receiver = Receiver(7, Tuning(), now=0.0)
    _, got = _complete(receiver, len(recorded), recorded, drop)
    assert got == recorded
