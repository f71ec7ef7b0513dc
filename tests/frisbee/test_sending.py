import pytest

from rhubarbe.frisbee.errors import MalformedPacket
from rhubarbe.frisbee.packets import (
    CHUNK_SIZE,
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
    Statistics,
)
from rhubarbe.frisbee.sending import Sender, lowest_blocks

NODE = "10.0.0.1"


@pytest.fixture
def sender():
    return Sender(4 * CHUNK_SIZE, 0.0)


def _ask(sender, *packets):
    for packet in packets:
        assert sender.receive(packet, NODE, 0.0) is None


def _sent(sender, limit=62):
    sent = []
    while (train := sender.next_train(limit, 0.0)) is not None:
        assert 0 < len(train.blocks) <= limit
        assert list(train.blocks) == sorted(train.blocks)
        sent.extend((train.chunk, block) for block in train.blocks)
    return sent


def _whole(*chunks):
    return [(chunk, block) for chunk in chunks for block in range(1024)]


def test_joins_are_answered_with_the_size():
    sender = Sender(3_000_000, 0.0)
    assert sender.receive(Join(7), NODE, 0.0) == Joined(2930)
    assert sender.receive(Join2(8, blocks=99, size=12345), NODE, 0.0) == Joined2(8, size=3_000_000)
    assert sender.roster.active == 2
    assert {each: client.address for each, client in sender.roster.clients.items()} == {
        7: NODE,
        8: NODE,
    }


def test_chunks_leave_in_the_order_of_the_requests(sender):
    _ask(sender, Ask(2), Ask(0))
    assert _sent(sender) == _whole(2, 0)


def test_equal_requests_are_one_transmission(sender):
    _ask(sender, Ask(2), Ask(2), AskPart(2, 1, 0b1011), Ask(2, 5, 10))
    assert _sent(sender) == _whole(2)
    assert sender.counters.merged == 3


def test_a_whole_chunk_takes_over_what_was_asked_of_it(sender):
    _ask(sender, AskPart(2, 0, 0b1011), Ask(2))
    assert _sent(sender) == _whole(2)


def test_parts_are_joined(sender):
    _ask(sender, AskPart(1, 0, 0b1001), AskPart(1, 0, 0b0011), Ask(1, 1000, 3))
    assert _sent(sender) == [(1, block) for block in (0, 1, 3, 1000, 1001, 1002)]


def test_a_request_for_the_chunk_under_way_is_dropped(sender):
    _ask(sender, Ask(1))
    first = sender.next_train(62, 0.0)
    _ask(sender, Ask(1))
    assert len(first.blocks) + len(_sent(sender)) == 1024
    assert sender.counters.duplicates == 1


def test_blocks_ahead_join_the_transmission_and_those_behind_come_after_it(sender):
    _ask(sender, AskPart(1, 0, 0b1111 | 1 << 500))
    assert list(sender.next_train(4, 0.0).blocks) == [0, 1, 2, 3]
    _ask(sender, AskPart(1, 1, 1 << 2 | 1 << 400))
    assert _sent(sender) == [(1, 400), (1, 500), (1, 2)]


def test_the_block_that_was_just_sent_is_behind(sender):
    _ask(sender, AskPart(1, 0, 0b1111 | 1 << 500))
    assert list(sender.next_train(4, 0.0).blocks) == [0, 1, 2, 3]
    _ask(sender, AskPart(1, 1, 1 << 3))
    assert _sent(sender) == [(1, 500), (1, 3)]


def test_a_part_of_the_chunk_under_way_that_was_sent_is_sent_again_and_before_other_chunks(sender):
    _ask(sender, Ask(1), Ask(2))
    sender.next_train(62, 0.0)
    _ask(sender, AskPart(1, 1, 1 << 3))
    assert _sent(sender) == [*_whole(1)[62:], (1, 3), *_whole(2)]


def test_all_of_a_chunk_is_sent_to_who_asks_for_it_during_a_repair(sender):
    _ask(sender, AskPart(1, 1, 1 | 1 << 500))
    assert list(sender.next_train(1, 0.0).blocks) == [0]
    _ask(sender, Ask(1))
    assert _sent(sender) == [*_whole(1)[1:], (1, 0)]


def test_what_a_session_came_to(sender):
    sender.receive(Join(7), NODE, 0.0)
    _ask(sender, Ask(2), AskPart(1, 0, 0b111), AskPart(1, 0, 0b1100), Ask(3), AskPart(0, 1, 0b11))
    for _ in range(3):
        sender.next_train(62, 0.0)
    _ask(sender, Ask(2), Ask(2), AskPart(2, 0, 1 << 1000), AskPart(1, 1, 1))
    _sent(sender)
    _ask(sender, AskPart(1, 1, 1), AskPart(1, 1, 1))
    _sent(sender)
    assert vars(sender.counters) == {
        "messages_in": 12,
        "messages_out": 0,
        "requests": 11,
        "merged": 5,
        "duplicates": 2,
        "repeated_requests": 3,
        "partial_requests": 7,
        "partial_blocks": 3 + 2 + 2 + 4,
        "blocks_sent": 2 * 1024 + 4 + 2 + 2,
        "combinations_sent": 0,
        "trains_sent": 2 + 2 * 17 + 2,
        "idles": 2,
        "longest_queue": 4,
        "most_blocks": 2 * 1024 + 4 + 2,
        "intervals": 0,
        "missed": 0,
        "overruns": 0,
    }


def test_what_is_under_way_counts_in_the_longest_queue(sender):
    assert (sender.counters.longest_queue, sender.counters.most_blocks) == (0, 0)
    _ask(sender, Ask(0))
    assert (sender.counters.longest_queue, sender.counters.most_blocks) == (1, 1024)
    sender.next_train(62, 0.0)
    _ask(sender, Ask(1))
    longest = (2, 1024 - 62 + 1024)
    assert (sender.counters.longest_queue, sender.counters.most_blocks) == longest
    _sent(sender)
    _ask(sender, AskPart(0, 0, 1 | 1 << 500), AskPart(1, 0, 1))
    assert (sender.counters.longest_queue, sender.counters.most_blocks) == longest


def test_repairs_go_first_but_do_not_starve_chunks(sender):
    big = Sender(20 * CHUNK_SIZE, 0.0)
    _ask(big, Ask(0), *(AskPart(chunk, 1, 1) for chunk in range(1, 11)))
    sent = _sent(big)
    assert sent[:4] == [(chunk, 0) for chunk in range(1, 5)]
    assert sent[4:1028] == _whole(0)
    assert sent[1028:] == [(chunk, 0) for chunk in range(5, 11)]


def test_after_each_whole_chunk_as_many_repairs_go_first_again():
    big = Sender(20 * CHUNK_SIZE, 0.0)
    _ask(big, Ask(0), Ask(11), *(AskPart(chunk, 1, 1) for chunk in range(1, 11)))
    first, second, rest = (
        [(chunk, 0) for chunk in part] for part in (range(1, 5), range(5, 9), range(9, 11))
    )
    assert _sent(big) == [*first, *_whole(0), *second, *_whole(11), *rest]


def test_the_last_chunk_is_as_short_as_the_file():
    sender = Sender(CHUNK_SIZE + 3000, 0.0)
    _ask(sender, Ask(1), AskPart(0, 0, 1))
    assert _sent(sender) == [(0, 0), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (Ask(4), "no chunk 4 in a file of 4"),
        (AskPart(4, 0, 1), "no chunk 4 in a file of 4"),
        (Ask(2**31 - 1), "no chunk 2147483647 in a file of 4"),
        (AskPart(0, 0, 0), "no such blocks in chunk 0"),
        (Joined(5), "unexpected Joined from a client"),
        (Joined2(1, size=9), "unexpected Joined2 from a client"),
        (Block(0, 0, bytes(1024)), "unexpected Block from a client"),
    ],
)
def test_what_makes_no_sense_is_refused(sender, packet, words):
    with pytest.raises(MalformedPacket, match=rf"\A{words}\Z"):
        sender.receive(packet, NODE, 0.0)
    assert not sender.busy


def test_blocks_beyond_the_end_of_the_file_are_refused():
    sender = Sender(CHUNK_SIZE + 3000, 0.0)
    with pytest.raises(MalformedPacket):
        sender.receive(Ask(1, 3, 5), NODE, 0.0)


def test_nothing_is_sent_once_the_last_client_has_left(sender):
    sender.receive(Join(7), NODE, 0.0)
    sender.receive(Join(8), "10.0.0.2", 0.0)
    _ask(sender, Ask(0), Ask(1))
    sender.next_train(62, 0.0)
    sender.receive(Leave(7, 1), NODE, 1.0)
    assert sender.busy
    sender.receive(Leave2(8, 1, Statistics(requests=3)), "10.0.0.2", 1.5)
    assert not sender.busy
    assert sender.over(3, 4.5) is None
    assert sender.over(3, 4.6) is not None
    assert sender.next_train(62, 1.0) is None
    assert sender.roster.clients[8].statistics.requests == 3


def test_a_spurious_leave_changes_nothing(sender):
    sender.receive(Join(7), NODE, 0.0)
    _ask(sender, Ask(0))
    sender.receive(Leave(99, 1), NODE, 1.0)
    assert sender.busy
    assert (sender.roster.active, sender.roster.leaves) == (1, 0)


def test_after_the_last_client_has_left_all_begins_anew(sender):
    sender.receive(Join(7), NODE, 0.0)
    _ask(sender, Ask(0), AskPart(1, 0, 1))
    sender.next_train(1, 0.0)
    sender.receive(Leave(7, 1), NODE, 1.0)
    sender.receive(Join(8), NODE, 2.0)
    _ask(sender, Ask(3), Ask(0), Ask(2))
    assert _sent(sender) == _whole(3, 0, 2)
    assert (sender.counters.longest_queue, sender.counters.most_blocks) == (3, 3 * 1024)


def test_a_flood_of_joins_is_not_remembered_for_ever(sender):
    for client in range(10_000):
        assert sender.receive(Join(client), NODE, 0.0) == Joined(4096)
    assert len(sender.roster.clients) <= 4096


def test_it_ends_after_idling_for_longer_than_the_limit(sender):
    _ask(sender, Ask(0))
    assert sender.over(3, 100.0) is None
    _sent(sender)
    assert sender.over(3, 3.0) is None
    assert sender.over(0, 1e9) is None
    assert sender.over(3, 3.1) == "No requests for 3 seconds!"
    assert sender.over(0.5, 3.1) is not None
    _ask(sender, Ask(0))
    while sender.next_train(62, 10.0):
        pass
    assert sender.over(3, 13.0) is None
    assert sender.over(3, 13.1) == "No requests for 3 seconds!"


def test_it_ends_soon_after_the_last_client_when_asked_to(sender):
    assert sender.over(-1, 1e9) is None
    sender.receive(Join(7), NODE, 0.0)
    assert sender.over(-1, 50.0) is None
    sender.receive(Leave(7, 1), NODE, 60.0)
    assert sender.over(0.5, 60.6) is not None
    assert sender.over(-1, 61.0) is None
    assert sender.over(-1, 62.0) == "Last client left!"


def test_who_never_leaves_is_given_up_at_last(sender):
    sender.receive(Join(7), NODE, 0.0)
    assert sender.over(-1, 1800.0) is None
    assert sender.over(-1, 1800.1) == "No requests for 1800 seconds!"


@pytest.mark.parametrize(
    ("blocks", "limit", "expected"),
    [
        (WHOLE_CHUNK, 62, list(range(62))),
        (0b111000, 62, [3, 4, 5]),
        (0b111000, 2, [3, 4]),
        (0b1010100, 2, [2, 4]),
        (1 << 1023, 62, [1023]),
        (0b1011, 3, [0, 1, 3]),
        (0b10110, 2, [1, 2]),
        (0b111000, 3, [3, 4, 5]),
    ],
)
def test_lowest_blocks(blocks, limit, expected):
    lowest = lowest_blocks(blocks, limit)
    assert list(lowest) == expected
    # What is consecutive is read at once.
    is_consecutive = expected[-1] - expected[0] == len(expected) - 1
    assert isinstance(lowest, range) == is_consecutive
