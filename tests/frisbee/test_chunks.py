"""Trains received where they belong: what they leave in the buffers, whatever is lost."""

import random

import pytest

from rhubarbe.frisbee.chunks import ChunkBuffers, LandingStrip, store_train
from rhubarbe.frisbee.packets import Ask, Joined
from rhubarbe.frisbee.receiving import Receiver
from rhubarbe.frisbee.sending import Sender, Train
from rhubarbe.frisbee.trains import BlockPackets
from rhubarbe.frisbee.tuning import Tuning

SERVER = bytes((10, 0, 0, 1))
FOREIGN = bytes((10, 0, 0, 2))
CHUNKS = 4


class Client:
    """A receiving machine with its buffers; what it receives is as a socket would give it."""

    def __init__(self, blocks, buffers):
        self.buffers = ChunkBuffers()
        tuning = Tuning(buffers=buffers, read_ahead=2)
        self.receiver = Receiver(7, tuning, now=0.0, forget=self.buffers.release)
        self.receiver.receive(Joined(blocks), 0.0)
        self.strip = LandingStrip(self.receiver, self.buffers)
        self.full = []
        self.landed = 0

    def take(self, data, now, source=SERVER):
        """Receive a train; it goes through ``room`` as the kernel would put it there."""
        rest = memoryview(data)
        for view in self.strip.room():
            part = rest[: len(view)]
            view[: len(part)] = part
            rest = rest[len(part) :]
        assert not rest
        completed = None
        if len(data) % 1048 == 0:  # else the kernel says that these are other packets
            completed = self.strip.landed(len(data), source, now)
        self.landed += completed is not None
        if completed is None:
            train = self.strip.gather(len(data))
            assert train == data
            if len(data) % 1048 == 0:
                completed = store_train(train, source, self.receiver, self.buffers, now)
            if completed is not None:
                self.strip.expect_after(train[-1048:])
        self.full += completed or []

    def write_one(self, image, disk):
        """Write one of the full chunks, as a disk does, and give its buffer back."""
        chunk = self.full.pop(0)
        start = chunk << 20
        size = min(1 << 20, len(image) - start)
        disk[start : start + size] = self.buffers.of(chunk).data[:size]
        self.buffers.release(chunk)
        self.receiver.written(0.0)


def _train(image, train, lost, chance):
    packets = BlockPackets(SERVER)
    packets.choose(train.chunk)
    out = b""
    for block in train.blocks:
        if chance.random() >= lost:
            at = (train.chunk << 20) + (block << 10)
            piece = image[at : at + 1024]
            packets.data[block][: len(piece)] = piece
            out += b"".join(packets.runs([block]))
    return out


@pytest.mark.parametrize("buffers", [1, 2, 4])
@pytest.mark.parametrize("lost", [0.0, 0.02])
def test_the_image_comes_whole_while_others_ask_and_buffers_are_short(buffers, lost):
    chance = random.Random(f"{buffers} {lost}")
    image = chance.randbytes((CHUNKS << 20) - 5000)
    disk = bytearray(len(image))
    sender = Sender(len(image), 0.0)
    client = Client(sender.blocks, buffers)
    now = 0.0
    while not client.receiver.finished:
        now += 0.003
        assert now < 200
        for packet in client.receiver.poll(now):
            sender.receive(packet, "10.0.0.3", now)
        if chance.random() < 0.02:
            other = Ask(chance.randrange(CHUNKS - 1), chance.choice([0, 500]), 100)
            sender.receive(other, "10.0.0.4", now)
        train = sender.next_train(62, now)
        data = _train(image, train, lost, chance) if train else b""
        if data:
            client.take(data, now)
        if client.full and chance.random() < 0.1:
            client.write_one(image, disk)
    assert disk == image


def test_a_buffer_taken_from_another_chunk_is_not_mistaken_for_that_of_the_new_one():
    image = random.Random(3).randbytes(3 << 20)
    client = Client(3 * 1024, 1)
    chance = random.Random(1)
    places = [(0, range(62)), (1, range(62, 124))]  # no buffer for the tail of chunk 1
    for start in range(62, 1024, 62):
        places.append((0, range(start, min(1024, start + 62))))
    for chunk, blocks in places:
        train = Train(chunk, blocks)
        client.take(_train(image, train, 0.0, chance), 0.1)
    disk = bytearray(len(image))
    client.write_one(image, disk)
    dubious = Train(1, range(962, 1024))
    client.take(_train(image, dubious, 0.0, chance), 0.2)  # has the buffer now, its head is missing
    for start in range(0, 1024, 62):
        blocks = range(start, min(1024, start + 62))
        train = Train(2, blocks)
        client.take(_train(image, train, 0.0, chance), 0.3)
    assert client.receiver.counts.partial_drops == 1
    client.write_one(image, disk)
    assert disk[2 << 20 :] == image[2 << 20 :]


def test_trains_without_loss_are_received_in_place():
    image = random.Random(2).randbytes(3 << 20)
    sender = Sender(len(image), 0.0)
    client = Client(sender.blocks, 3)
    for chunk in (2, 0, 1):
        sender.receive(Ask(chunk), "10.0.0.4", 0.0)
    trains = 0
    while (train := sender.next_train(62, 0.0)) is not None:
        client.take(_train(image, train, 0.0, random.Random(1)), 0.1)
        trains += 1
    disk = bytearray(len(image))
    while client.full:
        client.write_one(image, disk)
    assert disk == image
    assert client.landed == trains


def test_what_others_send_where_a_train_is_expected_is_not_kept():
    image = random.Random(4).randbytes(1 << 20)
    client = Client(1024, 1)
    sender = Sender(len(image), 0.0)
    sender.receive(Ask(0), "10.0.0.4", 0.0)
    chance = random.Random(1)
    while (train := sender.next_train(62, 0.0)) is not None:
        client.take(bytes(62 * 1048), 0.1)
        client.take(b"\1" * 28, 0.1)
        forged = _train(bytes(1 << 20), train, 0.0, chance)
        client.take(forged, 0.1, FOREIGN)
        client.take(_train(image, train, 0.0, chance), 0.1)
    disk = bytearray(1 << 20)
    client.write_one(image, disk)
    assert disk == image
