"""Repairs by parity: whatever is lost, in whatever order it comes, what is stored is the image."""

import random
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile import FOREIGN, SERVER, Store, _arrive, _blocks, channel

from rhubarbe.frisbee.chunks import ChunkBuffers, store_parity, store_train
from rhubarbe.frisbee.fetching import Fetching
from rhubarbe.frisbee.packets import (
    WHOLE_CHUNK,
    Ask,
    AskPart,
    Join,
    Join2,
    Joined,
    Joined2,
    Leave,
    Parity,
    encode,
)
from rhubarbe.frisbee.parity import (
    MOST_CLIENTS,
    Lacks,
    ParityTrain,
    combined,
    exclusive_or,
    lacking_one,
    numbers,
)
from rhubarbe.frisbee.receiving import Receiver
from rhubarbe.frisbee.report import LineReport
from rhubarbe.frisbee.sending import Sender, Train
from rhubarbe.frisbee.tuning import Tuning

__all__ = ["channel"]
MAPS = st.sets(st.integers(0, 1023), max_size=40).map(lambda each: sum(1 << one for one in each))
ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"


# -- what is combined --------------------------------------------------------------------------


@given(st.lists(MAPS, max_size=20), MAPS)
def test_no_client_lacks_two_of_one_packet_and_all_that_is_wanted_is_sent_once(lacks, unknown):
    wanted = unknown
    for each in lacks:
        wanted |= each
    plain, packets = combined(lacks, wanted)
    sent = list(numbers(plain))
    for blocks in packets:
        sent += blocks
        assert 2 <= len(blocks) <= 64
        assert list(blocks) == sorted(blocks)
        for each in lacks:
            assert sum(each >> block & 1 for block in blocks) <= 1
    assert sorted(sent) == list(numbers(wanted))


def test_different_losses_of_many_clients_take_little_more_than_those_of_one():
    chance = random.Random(1)
    lacks = [sum(1 << block for block in chance.sample(range(1024), 10)) for _ in range(64)]
    wanted = 0
    for each in lacks:
        wanted |= each
    plain, packets = combined(lacks, wanted)
    assert wanted.bit_count() > 400
    assert plain.bit_count() + len(packets) < 30


def test_what_all_lack_is_not_combined():
    assert combined([0b111, 0b111, 0b111], 0b111) == (0b111, [])


def test_where_most_lose_very_much_there_is_no_time_to_combine_it():
    lacks = [(1 << 400) - 1 | 1 << 400 + client for client in range(MOST_CLIENTS)]
    few, many = lacks[:60], lacks
    wanted = (1 << 400 + MOST_CLIENTS) - 1
    assert len(combined(few, wanted)[1]) == 1
    assert combined(many, wanted) == (wanted, [])


@given(st.lists(st.binary(min_size=1024, max_size=1024), min_size=1, max_size=6))
def test_the_exclusive_or_gives_each_block_from_the_others(blocks):
    data = exclusive_or(blocks)
    for index, block in enumerate(blocks):
        assert exclusive_or([data, *blocks[:index], *blocks[index + 1 :]]) == block


def test_the_only_one_that_is_missing():
    assert lacking_one((1, 5, 9), 1 << 5 | 1 << 6) == 5
    assert lacking_one((1, 5, 9), 1 << 6) is None
    assert lacking_one((1, 5, 9), 1 << 5 | 1 << 9) is None


def test_no_more_is_remembered_than_there_is_room_for():
    lacks = Lacks()
    remembered = sum(
        lacks.note(chunk, f"10.0.{client >> 8}.{client & 255}", 1)
        for chunk in range(1000)
        for client in range(100)
    )
    assert remembered == 16_384
    assert lacks.note(0, "10.0.0.5", 2)
    assert lacks.of(0)["10.0.0.5"] == 3
    lacks.forget(0)
    assert lacks.note(1000, ONE, 1)


# -- what is received --------------------------------------------------------------------------


class Client:
    """A client of a file of two chunks, the second of which is short."""

    image = random.Random(5).randbytes((1 << 20) + 700 * 1024)

    def __init__(self):
        self.receiver, self.buffers = Receiver(7, Tuning(), now=0.0), ChunkBuffers()
        self.receiver.receive(Joined(1724, parity=True), 0.0)

    def takes(self, places, now=0.0):
        data = memoryview(_blocks(SERVER, self.image, places))
        store_train(data, socket.inet_aton(SERVER), self.receiver, self.buffers, now)

    def block(self, chunk, block):
        at = (chunk * 1024 + block) * 1024
        return self.image[at : at + 1024]

    def parity(self, chunk, blocks, left=0):
        blocks = tuple(blocks)
        data = exclusive_or(self.block(chunk, each) for each in blocks)
        return Parity(chunk, left, blocks, data)

    def hears(self, chunk, blocks, left=0, now=0.0):
        return store_parity(self.parity(chunk, blocks, left), self.receiver, self.buffers, now)

    def check(self, chunk):
        """What it says that it has is what the image has there."""
        missing = self.receiver.missing(chunk)
        buffer = self.buffers.of(chunk)
        for block in range(self.receiver.valid(chunk).bit_length()):
            if not missing >> block & 1:
                assert buffer.blocks[block] == self.block(chunk, block)


@settings(max_examples=40)
@given(
    st.integers(0, 1),
    st.sets(st.integers(0, 699), min_size=1, max_size=60),
    st.lists(st.sets(st.integers(0, 699), min_size=2, max_size=64).map(sorted), max_size=60),
    st.randoms(use_true_random=False),
)
def test_what_is_stored_is_the_image(chunk, lost, combinations, chance):
    client = Client()
    there = client.receiver.valid(chunk).bit_length()
    client.takes([(chunk, block) for block in range(there) if block not in lost])
    several = [(block, chance.randrange(700)) for block in lost]
    combinations += [sorted(pair) for pair in several if len(set(pair)) == 2] * 2
    chance.shuffle(combinations)
    for blocks in combinations:
        before = client.receiver.missing(chunk)
        lacked = [block for block in blocks if before >> block & 1]
        completed = client.hears(chunk, blocks)
        gone = before ^ client.receiver.missing(chunk)
        assert gone == (1 << lacked[0] if len(lacked) == 1 else 0)
        assert completed == ([chunk] if before and gone == before else [])
        client.check(chunk)


@pytest.mark.parametrize(
    ("chunk", "blocks"),
    [(0, (0, 1)), (1, (0, 1)), (1, (5, 700)), (2, (0, 1)), (2**31 - 1, (0, 1))],
)
def test_combined_blocks_open_no_chunk_and_are_of_the_file(chunk, blocks):
    client = Client()
    packet = Parity(chunk, 0, blocks, bytes(1024))
    assert store_parity(packet, client.receiver, client.buffers, 0.0) == []
    assert client.receiver.missing(chunk) == 0
    client.takes([(1, block) for block in range(700) if block != 5])
    assert store_parity(packet, client.receiver, client.buffers, 0.0) == []
    assert client.receiver.missing(1) == 1 << 5


def test_it_asks_again_once_the_last_of_them_has_come():
    client = Client()
    client.takes([(0, block) for block in range(1024) if block not in {3, 4, 5}])
    (request,) = client.receiver.poll(0.011)
    assert request == AskPart(0, 0, 0b111000)
    assert client.hears(0, (3, 7), left=1, now=0.02) == []
    assert client.receiver.poll(0.031) == []
    assert client.hears(0, (4, 5), left=0, now=0.04) == []
    assert client.receiver.poll(0.051) == [AskPart(0, 1, 0b110000)]


@pytest.mark.parametrize("has_asked", [False, True])
def test_it_asks_again_also_where_the_last_of_them_is_lost(has_asked):
    client = Client()
    client.takes([(0, block) for block in range(1024) if block not in {3, 4}])
    if has_asked:
        assert client.receiver.poll(0.01) == [AskPart(0, 0, 0b11000)]
    client.hears(0, (3, 7), left=5, now=0.01)
    client.hears(0, (8, 9), left=3, now=0.02)
    assert client.receiver.deadline() == pytest.approx(0.07)
    assert client.receiver.poll(0.0701) == [AskPart(0, int(has_asked), 0b10000)]


def test_what_others_ask_for_is_told_too_while_the_server_combines():
    for parity, told in ((True, [AskPart(0, 0, 0b11)]), (False, [])):
        client = Client()
        client.receiver.receive(Joined(1724, parity=parity), 0.0)
        client.takes([(0, block) for block in range(2, 1024)])
        client.receiver.receive(AskPart(0, 0, 0b11), 0.0, TWO)
        assert client.receiver.poll(0.021) == told


def test_by_the_wire_they_come_from_the_server_only(channel):
    disk, image = Store(), Client.image[: 1 << 20]
    with Fetching(channel, Tuning(), LineReport(2, 0.0)) as fetching:
        fetching._disk = disk
        server, foreign = socket.inet_aton(SERVER), socket.inet_aton(FOREIGN)
        reply = encode(Joined(1024, parity=True), server)
        _arrive(fetching, channel, reply, segment=0)
        _arrive(fetching, channel, _blocks(SERVER, image, [(0, n) for n in range(2, 1024)]))
        forged = Parity(0, 0, (0, 5), bytes(1024))
        _arrive(fetching, channel, encode(forged, foreign), segment=0, address=FOREIGN)
        _arrive(fetching, channel, encode(forged, server), segment=0, address=FOREIGN)
        _arrive(fetching, channel, encode(forged, server)[:-1], segment=0)
        _arrive(fetching, channel, encode(forged, server) + b"x", segment=0)
        assert fetching.receiver.missing(0) == 0b11
        right = [encode(Client().parity(0, blocks), server) for blocks in ((0, 5), (1, 7))]
        _arrive(fetching, channel, b"".join(right), segment=len(right[0]))
        assert fetching.oddities[0] == (
            f"Ignored what came from {FOREIGN}: 1 block, 1 other packet"
        )
    assert disk.chunks == {0: image}


# -- when the server combines ------------------------------------------------------------------


@pytest.fixture
def sender():
    """A server of two clients that understand parity."""
    sender = Sender(4 << 20, 0.0)
    for client, address in ((1, ONE), (2, TWO)):
        assert sender.receive(Join(client, parity=True), address, 0.0) == Joined(4096, parity=True)
    return sender


def _lack(sender, now=0.0, addresses=(ONE, TWO), chunk=0, **changes):
    for number, address in enumerate(addresses):
        packet = AskPart(chunk, 0, 1 << number, parity=True)._replace(**changes)
        assert sender.receive(packet, address, now) is None


def _trains(sender, now):
    trains = []
    while (train := sender.next_train(8, now)) is not None:
        trains.append(
            train._replace(blocks=tuple(train.blocks)) if isinstance(train, Train) else train
        )
    return trains


COMBINED = [ParityTrain(0, [(0, 1)], 0)]
PLAIN = [Train(0, (0, 1))]


def test_different_losses_of_two_clients_are_one_packet(sender):
    _lack(sender)
    assert _trains(sender, 0.0) == COMBINED
    assert not sender.busy
    assert (sender.counters.blocks_sent, sender.counters.combinations_sent) == (1, 1)


def test_it_waits_a_moment_for_what_the_others_lack(sender):
    sender.receive(Join(3, parity=True), THREE, 0.0)
    _lack(sender)
    assert _trains(sender, 0.001) == []
    assert sender.busy
    assert 0.005 < sender.due < 0.1
    _lack(sender, 0.002, [THREE], blocks=0b100)
    assert _trains(sender, 0.002) == [ParityTrain(0, [(0, 1, 2)], 0)]
    _lack(sender, 1.0)
    assert _trains(sender, sender.due) == COMBINED


def test_a_client_alone_waits_for_nobody():
    sender = Sender(4 << 20, 0.0)
    sender.receive(Join(1, parity=True), ONE, 0.0)
    _lack(sender, addresses=[ONE])
    assert _trains(sender, 0.0) == [Train(0, (0,))]


def test_each_tells_how_many_follow(sender):
    _lack(sender, blocks=(1 << 20) - 1, addresses=[ONE])
    _lack(sender, blocks=((1 << 20) - 1) << 20, addresses=[TWO])
    left = []
    for train in _trains(sender, 0.0):
        left += [
            train.left + len(train.packets) - each for each in range(1, 1 + len(train.packets))
        ]
    assert left == list(range(19, -1, -1))


@pytest.mark.parametrize("join", [Join(9), Join2(9)])
def test_while_another_program_takes_part_nothing_is_combined(sender, join):
    _lack(sender)
    reply = sender.receive(join, THREE, 0.0)
    assert not reply.parity
    assert _trains(sender, 1.0) == PLAIN
    _lack(sender, 2.0)
    assert _trains(sender, 2.0) == PLAIN
    assert sender.receive(Leave(9, 3), THREE, 3.0) == Joined(4096, parity=True)
    _lack(sender, 4.0)
    assert _trains(sender, 5.0) == COMBINED
    assert sender.receive(Join2(4, parity=True), THREE, 6.0) == Joined2(
        4, size=4 << 20, parity=True
    )


def test_what_waits_to_be_sent_is_not_combined_either_once_another_program_comes(sender):
    for number, address in enumerate((ONE, TWO)):
        _lack(sender, blocks=((1 << 20) - 1) << 20 * number, addresses=[address])
    assert len(sender.next_train(5, 0.0).packets) == 5
    sender.receive(Join(9), THREE, 0.0)
    trains = _trains(sender, 0.0)
    assert all(isinstance(train, Train) for train in trains)
    assert sum(len(train.blocks) for train in trains) == 30


@pytest.mark.parametrize(
    ("packet", "address"),
    [
        (Ask(3), THREE),
        (AskPart(3, 0, 1), THREE),
        (AskPart(3, 0, 1), ONE),
        (Join(1), THREE),
        (Join(1), ONE),
    ],
)
def test_who_takes_part_and_is_not_known_understands_nothing(sender, packet, address):
    sender.receive(packet, address, 0.0)
    _trains(sender, 1.0)
    _lack(sender, 1.0)
    assert _trains(sender, 2.0) == PLAIN


def test_who_asks_after_it_has_left_takes_part_again_and_may_leave_again(sender):
    sender.receive(Join(9), THREE, 0.0)
    sender.receive(Leave(9, 1), THREE, 0.0)
    sender.receive(AskPart(3, 0, 1), THREE, 0.0)
    _trains(sender, 1.0)
    _lack(sender, 1.0)
    assert _trains(sender, 2.0) == PLAIN
    assert sender.receive(Leave(9, 1), THREE, 3.0) == Joined(4096, parity=True)
    _lack(sender, 4.0)
    assert _trains(sender, 5.0) == COMBINED


@pytest.mark.parametrize("leaves", [False, True])
def test_at_an_address_of_which_a_plain_client_has_left_another_is_noticed(sender, leaves):
    sender.receive(Join(9), ONE, 0.0)
    sender.receive(Leave(9, 1), ONE, 0.0)
    if leaves:
        sender.receive(Leave(1, 1), ONE, 0.0)
    sender.receive(AskPart(3, 0, 1), ONE, 0.0)
    _trains(sender, 1.0)
    _lack(sender, 1.0)
    assert _trains(sender, 2.0) == PLAIN


def test_a_combination_counts_for_as_much_as_it_takes_to_send():
    assert ParityTrain(0, [(0, 1)] * 131, 5).cost == pytest.approx(131.5)


def test_one_of_ours_whose_join_was_lost_understands_it(sender):
    sender.receive(Ask(3, parity=True), THREE, 0.0)
    _trains(sender, 0.0)
    _lack(sender, 1.0)
    assert _trains(sender, 2.0) == COMBINED


def test_too_many_clients_are_not_asked_for_all_they_lack(sender):
    for client in range(3, MOST_CLIENTS + 2):
        reply = sender.receive(Join(client, parity=True), f"10.1.0.{client}", 0.0)
        assert reply.parity == (client <= MOST_CLIENTS)
    _lack(sender)
    assert _trains(sender, 0.0) == PLAIN
    assert sender.receive(Leave(5, 1), "10.1.0.5", 1.0) == Joined(4096, parity=True)


def test_nothing_is_combined_where_that_is_not_wanted():
    sender = Sender(4 << 20, 0.0, parity=False)
    for client, address in ((1, ONE), (2, TWO)):
        assert sender.receive(Join(client, parity=True), address, 0.0) == Joined(4096)
    _lack(sender)
    assert _trains(sender, 0.0) == PLAIN


def test_a_chunk_that_is_asked_for_as_a_whole_is_not_combined(sender):
    _lack(sender, addresses=[ONE])
    sender.receive(Ask(0, parity=True), TWO, 0.0)
    trains = _trains(sender, 1.0)
    assert sum(1 << block for train in trains for block in train.blocks) == WHOLE_CHUNK


def test_nothing_waits_once_all_have_left(sender):
    _lack(sender, addresses=[ONE])
    for client, address in ((1, ONE), (2, TWO)):
        sender.receive(Leave(client, 1), address, 0.001)
    assert not sender.busy
    assert _trains(sender, 1.0) == []


def _blocks_sent(sender, now, chunk=0):
    """The blocks of a chunk that are sent from now on, as they are or combined, as a map."""
    sent = 0
    for train in _trains(sender, now):
        packets = train.packets if isinstance(train, ParityTrain) else [train.blocks]
        if train.chunk == chunk:
            for blocks in packets:
                sent |= sum(1 << block for block in blocks)
    return sent


def test_what_is_being_gathered_is_sent_also_where_another_program_asks_for_more_of_it(sender):
    _lack(sender, addresses=[ONE], blocks=0b11)
    sender.receive(Join(9), THREE, 0.0)
    sender.receive(AskPart(0, 0, 0b100), THREE, 0.0)
    assert _blocks_sent(sender, 0.001) == 0b111
    assert not sender.busy


def test_what_is_being_gathered_is_sent_also_once_all_others_have_left(sender):
    _lack(sender, addresses=[ONE], blocks=0b11)
    sender.receive(Leave(2, 1), TWO, 0.001)
    _lack(sender, 0.001, [ONE], blocks=0b100)
    assert _blocks_sent(sender, 0.002) == 0b111


@pytest.mark.parametrize("parity", [True, False])
@pytest.mark.parametrize("asks", [Ask(0), AskPart(0, 0, 0b1000)])
def test_who_asks_for_too_much_takes_from_nobody_what_it_asked_for(parity, asks):
    sender = Sender(200 << 20, 0.0, parity=parity)
    for client, address in ((1, ONE), (2, TWO), (3, THREE)):
        sender.receive(Join(client, parity=True), address, 0.0)
    for chunk in range(20, 30):  # by which it is not modest any more
        sender.receive(AskPart(chunk, 0, WHOLE_CHUNK - 1, parity=True), THREE, 0.0)
        _trains(sender, 1.0)
    for chunk in range(100, 170):
        sender.receive(Ask(chunk, parity=True), THREE, 1.0)
    _lack(sender, 1.0)
    sender.receive(asks._replace(parity=True), THREE, 1.0)
    assert _blocks_sent(sender, 2.0) & 0b11 == 0b11


def test_clients_at_one_address_are_waited_for(sender):
    sender.receive(Join(3, parity=True), ONE, 0.0)
    _lack(sender)
    assert _trains(sender, 0.001) == []
    _lack(sender, 0.002, [ONE], blocks=0b1)
    assert _trains(sender, sender.due) == COMBINED
    assert not sender.busy


def test_where_all_are_at_one_address_nobody_waits():
    sender = Sender(4 << 20, 0.0)
    for client in (1, 2):
        sender.receive(Join(client, parity=True), ONE, 0.0)
    _lack(sender, addresses=[ONE])
    assert _trains(sender, 0.0) == [Train(0, (0,))]


def test_who_has_left_is_not_waited_for(sender):
    sender.receive(Join(3, parity=True), THREE, 0.0)
    sender.receive(Leave(3, 1), THREE, 0.0)
    _lack(sender)
    assert _trains(sender, 0.0) == COMBINED


def test_who_asks_for_a_whole_chunk_while_combined_repairs_leave_gets_it():
    sender = Sender(20 << 10, 0.0)
    for client, address in ((1, ONE), (2, TWO), (3, THREE)):
        sender.receive(Join(client, parity=True), address, 0.0)
    for address, blocks in ((ONE, (1 << 11) - 1), (TWO, (1 << 20) - (1 << 9))):
        _lack(sender, 0.0, [address], blocks=blocks)
    train = sender.next_train(1, 0.02)
    assert isinstance(train, Train)
    sender.receive(Ask(0, 0, 20, parity=True), THREE, 0.02)
    plain = 0
    for train in _trains(sender, 1.0):
        if isinstance(train, Train):
            plain |= sum(1 << block for block in train.blocks)
    assert plain | 1 << 9 == (1 << 20) - 1


def test_what_is_about_to_come_combined_is_not_sent_again_to_who_asks_for_it_again(sender):
    _lack(sender, addresses=[ONE], blocks=0b11111)
    _lack(sender, addresses=[TWO], blocks=0b11111 << 4)
    assert tuple(sender.next_train(1, 0.0).blocks) == (4,)
    _lack(sender, 0.001, [ONE], blocks=0b1111)
    _lack(sender, 0.001, [TWO], blocks=0b1111 << 5)
    assert sum(len(train.packets) for train in _trains(sender, 1.0)) == 4


def test_what_is_about_to_come_combined_is_sent_again_to_who_cannot_use_it(sender):
    _lack(sender, addresses=[ONE], blocks=0b11111)
    _lack(sender, addresses=[TWO], blocks=0b11111 << 4)
    assert tuple(sender.next_train(1, 0.0).blocks) == (4,)
    _lack(sender, 0.001, [ONE], blocks=0b100001)  # another client there lacks both of one packet
    assert (0, 5) in sender.next_train(9, 0.002).packets
    assert _trains(sender, 1.0) == [Train(0, (0, 5))]


def test_all_are_told_once_nothing_is_combined_any_more(sender):
    assert sender.receive(AskPart(3, 0, 1), THREE, 0.0) == Joined(4096)
    assert sender.receive(AskPart(3, 0, 1), THREE, 0.0) is None


def test_of_a_chunk_no_more_is_remembered_than_of_so_many_clients_as_there_may_be():
    lacks = Lacks()
    noted = [lacks.note(0, f"10.0.{client >> 8}.{client & 255}", 1) for client in range(1000)]
    assert sum(noted) == MOST_CLIENTS
    assert lacks.note(0, "10.0.0.5", 2)


class Session:
    """A server, and who comes and goes; ``lacking`` is what was asked for and not sent since."""

    def __init__(self, seed):
        self.sender, self.now = Sender((1024 + 20) << 10, 0.0), 0.0
        self.chance, self.lacking = random.Random(seed), set()
        for client, address in ((1, ONE), (2, TWO)):
            self.sender.receive(Join(client, parity=True), address, 0.0)

    def hears(self, packet):
        address = self.chance.choice([ONE, TWO, THREE])
        self.sender.receive(packet, address, self.now)

    def is_joined(self, client, *, parity):
        self.hears(Join(client, parity=parity))

    def is_left(self, client, **_):
        self.hears(Leave(client, 1))
        if not self.sender.busy:
            self.lacking.clear()

    def is_asked(self, client, *, parity):
        chunk, blocks = client & 1, self.chance.sample(range(20), self.chance.choice([1, 1, 2, 9]))
        self.hears(AskPart(chunk, 0, sum(1 << block for block in blocks), parity=parity))
        self.lacking |= {(chunk, block) for block in blocks}

    def is_asked_for_all(self, client, *, parity):
        self.hears(Ask(client & 1, 0, [1024, 20][client & 1], parity=parity))

    def sends(self, client=62, **_):
        self.now += self.chance.choice([0, 0.001, 0.01])
        train = self.sender.next_train(client, self.now)
        if train is None:
            assert self.sender.due > self.now
            return
        packets = train.packets if isinstance(train, ParityTrain) else [train.blocks]
        self.lacking -= {(train.chunk, block) for blocks in packets for block in blocks}


def test_what_is_asked_for_is_sent_whoever_comes_and_goes():
    combinations = 0
    for seed in range(300):
        session = Session(seed)
        happens = [session.is_joined, session.is_left, session.is_asked_for_all]
        happens += [session.sends, session.is_asked] * 5
        for _ in range(60):
            parity = session.chance.random() < 0.95
            session.chance.choice(happens)(session.chance.randrange(1, 6), parity=parity)
        while session.sender.busy:
            session.sends()
        assert not session.lacking, seed
        combinations += session.sender.counters.combinations_sent
    assert combinations > 300
