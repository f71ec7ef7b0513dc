from itertools import pairwise

import pytest

from rhubarbe.frisbee.errors import NotVouchedFor, ServerSilent, TransferFailed
from rhubarbe.frisbee.packets import (
    WHOLE_CHUNK,
    Ask,
    AskPart,
    Join,
    Join2,
    Joined,
    Joined2,
)
from rhubarbe.frisbee.receiving import REPAIR_DELAY, TICK, Receiver
from rhubarbe.frisbee.tuning import Tuning

TAIL = WHOLE_CHUNK & ~((1 << 500) - 1)


def joined(chunks=4, **tuning):
    receiver = Receiver(7, Tuning(**tuning), now=0.0)
    receiver.poll(0.0)
    receiver.receive(Joined(chunks * 1024), 0.0)
    return receiver


def requests(receiver, now):
    return receiver.poll(now)


def fill(receiver, chunk, now=0.0):
    assert receiver.store(chunk, WHOLE_CHUNK, now) == WHOLE_CHUNK
    assert receiver.is_full(chunk)
    receiver.written(now)


def test_it_asks_to_join_each_half_second_until_answered():
    receiver = Receiver(7, Tuning(), now=0.0)
    sent = [(now, packet) for now in (0.0, 0.4, 0.5, 0.9, 1.0) for packet in receiver.poll(now)]
    assert sent == [(0.0, Join(7)), (0.5, Join(7)), (1.0, Join(7))]
    receiver.receive(Joined(4096), 1.1)
    assert (receiver.size, receiver.chunks) == (4096 * 1024, 4)


def test_a_raw_client_wants_a_reply_of_its_own():
    receiver = Receiver(7, Tuning(), now=0.0, raw=True)
    assert receiver.poll(0.0) == [Join2(7)]
    receiver.receive(Joined(4096), 0.1)
    receiver.receive(Joined2(8, size=5), 0.1)
    assert not receiver.joined
    receiver.receive(Joined2(7, size=3_000_000), 0.1)
    assert (receiver.size, receiver.blocks, receiver.chunks) == (3_000_000, 2930, 3)


def test_other_sizes_of_chunks_are_refused():
    receiver = Receiver(7, Tuning(), now=0.0, raw=True)
    with pytest.raises(TransferFailed, match="128/8192"):
        receiver.receive(Joined2(7, chunk_blocks=128, block_bytes=8192, size=10**6), 0.1)


@pytest.mark.parametrize("blocks", [0, -5])
def test_a_reply_without_a_size_is_no_reply(blocks):
    receiver = Receiver(7, Tuning(), now=0.0)
    receiver.receive(Joined(blocks), 0.1)
    assert not receiver.joined


def test_later_replies_change_nothing():
    receiver = joined()
    receiver.receive(Joined(99), 0.1)
    assert receiver.chunks == 4


def test_the_first_requests_come_a_tick_after_joining():
    receiver = joined(10, randomize=False)
    assert requests(receiver, TICK / 2) == []
    assert receiver.deadline() == TICK
    assert requests(receiver, TICK) == [Ask(0), Ask(1)]


def test_the_order_is_random_unless_told_otherwise():
    orders = set()
    for client in range(5):
        receiver = Receiver(client, Tuning(), now=0.0)
        receiver.receive(Joined(100 * 1024), 0.0)
        orders.add(tuple(packet.chunk for packet in receiver.poll(TICK)))
    assert len(orders) > 1


def test_the_first_and_last_chunk_can_be_asked_for_before_all_others():
    receiver = joined(10, randomize=False, ends_first=True)
    assert requests(receiver, TICK) == [Ask(0), Ask(9)]
    for client in range(5):
        receiver = Receiver(client, Tuning(ends_first=True), now=0.0)
        receiver.receive(Joined(100 * 1024), 0.0)
        asked = [packet.chunk for packet in receiver.poll(TICK)]
        assert asked == [0, 99]


def test_buffers_are_kept_for_the_first_and_the_last_chunk():
    """A disk takes no other before them: all buffers full of others would wait for ever."""
    receiver = joined(10, randomize=False, ends_first=True, buffers=1)
    taken = [receiver.store(chunk, WHOLE_CHUNK, 0.1) for chunk in (4, 5, 6, 9, 0)]
    assert taken == [WHOLE_CHUNK, 0, 0, WHOLE_CHUNK, WHOLE_CHUNK]


@pytest.mark.parametrize("ends_first", [True, False])
def test_the_chunk_that_the_disk_waits_for_is_asked_for_again_while_others_wait(ends_first):
    receiver = joined(10, randomize=False, ends_first=ends_first)
    requests(receiver, TICK)
    for chunk in range(3):  # as many as wait for a disk that takes nothing yet
        assert receiver.store(chunk, WHOLE_CHUNK, 0.1) == WHOLE_CHUNK
    asked = [packet.chunk for now in (0.1, 1.5, 3.0, 4.5) for packet in requests(receiver, now)]
    assert set(asked) == ({9} if ends_first else set())


def test_a_full_chunk_makes_it_ask_for_the_next():
    receiver = joined(10, randomize=False)
    requests(receiver, TICK)
    fill(receiver, 0, 0.04)
    assert requests(receiver, 0.04) == [Ask(2)]


def test_what_others_asked_for_is_not_asked_for_again():
    receiver = joined(10, randomize=False)
    requests(receiver, TICK)
    receiver.receive(Ask(2), 0.04)
    fill(receiver, 0, 0.05)
    assert requests(receiver, 0.05) == []
    fill(receiver, 1, 1.2)
    assert requests(receiver, 1.2) == [Ask(2), Ask(3)]


def test_lost_blocks_are_asked_for_when_the_server_turns_to_another_chunk():
    receiver = joined(10, randomize=False)
    requests(receiver, TICK)
    lost = 1 << 5 | 1 << 1023
    receiver.store(0, WHOLE_CHUNK & ~lost, 0.05)
    assert requests(receiver, 0.05) == []
    receiver.store(1, 0b1, 0.06)
    assert requests(receiver, 0.06 + REPAIR_DELAY) == [AskPart(0, 1, lost)]


def test_a_lost_head_is_asked_for_when_the_tail_has_come():
    receiver = joined(10, randomize=False)
    requests(receiver, TICK)
    receiver.store(0, TAIL, 0.05)
    assert requests(receiver, 0.05 + REPAIR_DELAY) == [AskPart(0, 1, WHOLE_CHUNK & ~TAIL)]


def test_what_may_wait_to_be_received_is_not_asked_for():
    receiver = joined(chunks=2)
    receiver.store(0, TAIL, 0.01)
    receiver.store(1, 1, 0.02)
    assert receiver.poll(0.05, more=True) == []
    receiver.receive(AskPart(0, 0, WHOLE_CHUNK & ~TAIL), 0.06)
    assert receiver.poll(0.06) == []


def test_it_asks_in_the_end_even_when_there_is_always_more_to_be_received():
    receiver = joined(chunks=2)
    receiver.store(0, TAIL, 0.01)
    receiver.store(1, 1, 0.02)
    times = [0.05 + number / 100 for number in range(16)]
    asked = [now for now in times if receiver.poll(now, more=True)]
    assert asked
    assert 0.1 < asked[0] < 0.2


def test_who_was_held_up_receives_before_it_asks():
    receiver = joined(chunks=2)
    receiver.store(0, TAIL, 0.01)
    receiver.store(1, 1, 0.02)
    assert receiver.poll(0.9, more=True) == []
    assert receiver.poll(0.95, more=True) == []
    receiver.store(0, WHOLE_CHUNK & ~TAIL, 0.96)
    assert receiver.poll(0.96) == []


def test_repairs_that_others_asked_for_are_left_out():
    receiver = joined(10, randomize=False)
    requests(receiver, TICK)
    receiver.store(0, WHOLE_CHUNK & ~0b1110, 0.05)
    receiver.receive(AskPart(0, 1, 0b0110), 0.051)
    assert requests(receiver, 0.05 + REPAIR_DELAY) == [AskPart(0, 1, 0b1000)]


def test_silence_makes_it_ask_for_everything_again_ever_slower():
    receiver = joined(2, randomize=False)
    requests(receiver, TICK)
    receiver.store(0, TAIL ^ 1 << 1023, 0.04)
    times, now = [], 0.04
    while len(times) < 8:
        now = max(receiver.deadline(), now)
        packets = receiver.poll(now)
        if packets:
            assert AskPart(0, 1, WHOLE_CHUNK & ~(TAIL ^ 1 << 1023)) in packets
            times.append(now)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[-1] > gaps[0]
    assert all(gap < 2 for gap in gaps)


def test_a_chunk_that_never_came_is_asked_for_by_map_the_second_time():
    receiver = joined(1)
    assert requests(receiver, TICK) == [Ask(0)]
    assert requests(receiver, receiver.deadline()) == [AskPart(0, 1, WHOLE_CHUNK)]


def test_blocks_are_kept_once():
    receiver = joined()
    assert receiver.store(0, 0b0111, 0.1) == 0b0111
    assert receiver.store(0, 0b1110, 0.1) == 0b1000
    assert receiver.counts.duplicate_block == 2
    receiver.store(0, WHOLE_CHUNK, 0.2)
    assert receiver.store(0, WHOLE_CHUNK, 0.3) == 0
    assert receiver.counts.duplicate_chunk == 1024


@pytest.mark.parametrize("chunk", [4, -1, 2**31 - 1])
def test_blocks_of_no_chunk_of_ours_are_not_kept(chunk):
    assert joined().store(chunk, 1, 0.1) == 0


def test_blocks_beyond_a_short_last_chunk_are_not_kept():
    receiver = Receiver(7, Tuning(), now=0.0, raw=True)
    receiver.receive(Joined2(7, size=3000), 0.0)
    assert receiver.store(0, 0b11111000, 0.1) == 0
    assert receiver.store(0, 0b1111, 0.1) == 0b111
    assert receiver.is_full(0)


def test_without_a_buffer_blocks_are_dropped_and_nothing_is_asked_for():
    receiver = joined(10, buffers=2, randomize=False)
    requests(receiver, TICK)
    receiver.store(0, 0b1, 0.04)
    receiver.store(1, 0b1, 0.04)
    assert receiver.store(2, 0b10, 0.05) == 0
    receiver.poll(0.05)
    receiver.store(0, WHOLE_CHUNK, 0.06)
    assert all(packet.chunk in (0, 1) for packet in receiver.poll(0.1))
    receiver.written(0.1)
    assert Ask(2) in receiver.poll(0.2)


def test_a_chunk_begun_in_its_middle_gives_its_buffer_to_one_that_starts():
    forgotten = []
    receiver = Receiver(7, Tuning(buffers=1, randomize=False), now=0.0, forget=forgotten.append)
    receiver.receive(Joined(4 * 1024), 0.0)
    receiver.store(0, 0b1, 0.1)
    receiver.store(1, 0b10, 0.2)  # dropped: no buffer
    receiver.store(0, WHOLE_CHUNK, 0.3)
    receiver.written(0.3)
    receiver.store(1, 0b100, 0.4)  # gets one, but is known to lack its start
    assert receiver.store(2, 0b1, 0.5) == 0b1
    assert forgotten == [1]
    assert receiver.store(1, 0b1, 0.6) == 0


def test_it_gives_up_on_a_silent_server_also_while_joining():
    receiver = Receiver(7, Tuning(silence=2.0), now=0.0)
    receiver.poll(1.9)
    with pytest.raises(
        ServerSilent, match=r"\*\*\* No messages from server after 2 seconds, exiting"
    ):
        receiver.poll(2.1)


def test_other_clients_are_not_the_server():
    receiver = joined(silence=2.0)
    receiver.store(0, 1, 1.0)
    receiver.receive(Ask(1), 2.9)
    with pytest.raises(ServerSilent):
        receiver.poll(3.1)


def test_a_slow_disk_is_not_a_silent_server():
    receiver = joined(2, silence=2.0)
    for chunk in (0, 1):
        receiver.store(chunk, WHOLE_CHUNK, 0.1)
    receiver.poll(100.0)
    receiver.poll(101.0)
    assert receiver.has_all
    assert not receiver.finished


def test_it_is_finished_when_all_is_written():
    receiver = joined(2)
    fill(receiver, 1)
    assert not receiver.has_all
    fill(receiver, 0)
    assert receiver.finished


def vouching(chunks=4, **tuning):
    receiver = Receiver(7, Tuning(randomize=False, **tuning), now=0.0, chunks=chunks)
    receiver.receive(Joined(chunks * 1024), 0.0)
    receiver.poll(TICK)
    return receiver


@pytest.mark.parametrize("size", [1, 3 << 10, (4 << 10) + 1, 0x7FFFFFFF])
def test_who_knows_the_length_takes_no_other(size):
    receiver = Receiver(7, Tuning(), now=0.0, chunks=4)
    assert receiver.refuses(Joined(size))
    receiver.receive(Joined(size), 0.1)
    assert not receiver.joined
    assert not receiver.refuses(Joined(4 << 10))
    receiver.receive(Joined(4 << 10), 0.2)
    assert receiver.chunks == 4


def test_who_knows_the_length_is_not_ended_by_other_geometries():
    receiver = Receiver(7, Tuning(), now=0.0, raw=True, chunks=4)
    receiver.receive(Joined2(7, chunk_blocks=128, block_bytes=8192, size=4 << 20), 0.1)
    receiver.receive(Joined2(7, size=4 << 20), 0.1)
    assert receiver.chunks == 4


def test_a_wrong_chunk_is_asked_for_again_as_a_whole_but_not_at_once():
    receiver = vouching()
    receiver.store(0, WHOLE_CHUNK, 0.1)
    receiver.reject(0, 0.2)
    assert receiver.missing(0) == 0
    asked, now = [], 0.2
    while not any(packet.chunk == 0 for packet in asked):
        asked = receiver.poll(now)
        now += 0.001
    assert AskPart(0, 1, WHOLE_CHUNK) in asked
    assert now > 0.22
    assert receiver.store(0, WHOLE_CHUNK, now) == WHOLE_CHUNK


def test_who_forges_again_and_again_does_not_make_the_server_send_at_full_speed():
    receiver = vouching(chunks=1)
    now, asked = 0.1, 0
    while now < 60:
        receiver.store(0, 1, now)  # whoever forges one block of it
        if any(packet.blocks.bit_count() > 500 for packet in receiver.poll(now)):
            asked += 1
            receiver.store(0, WHOLE_CHUNK, now)
            receiver.reject(0, now)
        now += 0.01
    assert 30 < asked < 90


def test_others_are_asked_for_while_a_wrong_chunk_rests():
    receiver = vouching(chunks=30)
    for chunk in (0, 1):
        receiver.store(chunk, WHOLE_CHUNK, 0.1)
        receiver.reject(chunk, 0.1)
    assert [packet.chunk for packet in receiver.poll(0.1)] == [2, 3]


def test_it_gives_up_when_what_comes_is_wrong():
    receiver = vouching(silence=2.0)
    now = 0.1
    with pytest.raises(NotVouchedFor, match="manifest vouches for in 2 seconds"):
        while now < 10:
            receiver.store(0, WHOLE_CHUNK, now)
            if receiver.is_full(0):
                receiver.reject(0, now)
            receiver.poll(now)
            now += 0.1
    assert 2 < now < 3


def test_who_knows_no_manifest_goes_on_while_blocks_come():
    receiver = joined(silence=2.0)
    for second in range(60):
        receiver.store(0, 1 << second, float(second))
        receiver.poll(float(second))
    assert receiver.missing(0)


@pytest.mark.parametrize("chunks", [1, 4])
def test_it_gives_up_when_never_a_chunk_is_whole(chunks):
    receiver = vouching(chunks, silence=2.0)
    now = 0.1
    with pytest.raises(NotVouchedFor, match="in 10 seconds"):
        while now < 60:
            receiver.store(0, 1 << int(now * 10), now)
            receiver.poll(now)
            now += 0.1
    assert 10 < now < 11


def test_right_chunks_between_wrong_ones_keep_it_going():
    receiver = vouching(chunks=100, silence=2.0)
    for chunk in range(1, 100):
        now = chunk * 1.5
        for each in (0, chunk):
            receiver.store(each, WHOLE_CHUNK, now)
        receiver.reject(0, now)
        receiver.written(now)
        receiver.poll(now)
    assert not receiver.finished


def test_what_others_ask_for_puts_off_only_for_a_while():
    receiver = joined(2, randomize=False)
    requests(receiver, TICK)
    now, asked = TICK, []
    while now < 5 and not asked:
        now += 0.01
        for chunk in (0, 1):
            receiver.receive(Ask(chunk), now)
        asked = requests(receiver, now)
    assert now < 2
    assert {packet.chunk for packet in asked} == {0, 1}


def steady(chance=0.0, *, chunks=10, crowd=0, knows=False, **tuning):
    """Return a receiver that has joined, whose chance always falls so; ``crowd`` others ask."""
    tuning = Tuning(**{"randomize": False} | tuning)
    receiver = Receiver(7, tuning, now=0.0, chunks=chunks if knows else 0)
    receiver._random.random = lambda: chance
    receiver.receive(Joined(chunks * 1024), 0.0)
    for now in (1.0, 2.0) if crowd else ():
        for number in range(crowd):
            receiver.receive(Ask(chunks), now, f"10.0.0.{number}")
    return receiver


LOST = 1 << 5 | 1 << 1023


def test_who_it_is_and_what_a_chunk_lacks_is_told():
    receiver = joined()
    assert receiver.client == 7
    assert receiver.missing(0) == 0
    receiver.store(0, 0b1011, 0.1)
    assert receiver.missing(0) == WHOLE_CHUNK & ~0b1011
    assert receiver.missing(1) == 0


def test_the_same_client_asks_in_the_same_order():
    orders = []
    for client in (7, 7, 8):
        receiver = Receiver(client, Tuning(), now=0.0)
        receiver.receive(Joined(1000 * 1024), 0.0)
        orders.append([packet.chunk for packet in receiver.poll(TICK)])
    assert orders[0] == orders[1] != orders[2]


def test_before_it_has_joined_it_takes_nothing():
    receiver = Receiver(7, Tuning(), now=0.0)
    assert (receiver.chunks, receiver.blocks) == (0, 0)
    assert receiver.store(0, 0b1, 0.1) == 0
    assert not receiver.finished


def test_when_it_wants_to_be_polled():
    receiver = Receiver(7, Tuning(randomize=False), now=0.0)
    receiver.poll(0.0)
    assert receiver.deadline() == 0.5
    receiver.poll(0.5)
    assert (receiver.deadline(), receiver.counts.joins) == (1.0, 2)
    receiver.receive(Joined(4096), 0.6)
    assert receiver.deadline() == 0.6 + TICK
    receiver.store(0, WHOLE_CHUNK, 0.61)
    assert receiver.deadline() == 0.0
    assert requests(receiver, 0.61) == [Ask(1), Ask(2)]
    assert receiver.deadline() > 0.61


def test_in_silence_the_pauses_grow_tick_by_tick_up_to_a_second():
    receiver = steady()
    pauses = []
    for _ in range(40):
        now = receiver.deadline()
        assert receiver.poll(now)
        pauses.append(round((receiver.deadline() - now) / TICK, 6))
    assert pauses == [3.0, *(3.0 + ticks for ticks in range(2, 34)), *[36.0] * 7]
    assert receiver.counts.idles == 40
    receiver.store(0, 0b1, now)
    assert receiver.deadline() == pytest.approx(now + 3 * TICK)
    receiver.poll(receiver.deadline())
    assert receiver.deadline() == pytest.approx(now + 6 * TICK)


def test_no_two_clients_pause_equally_long():
    pauses = []
    for client in range(100):
        receiver = Receiver(client, Tuning(), now=0.0)
        receiver.receive(Joined(4096), 0.0)
        receiver.poll(TICK)
        pauses.append((receiver.deadline() - TICK) / (3 * TICK))
    assert 1 <= min(pauses) < 1.1
    assert 1.9 < max(pauses) < 2


def test_the_more_ask_the_longer_it_pauses():
    receiver = steady(0.5, crowd=48)
    assert len(requests(receiver, 2.0)) == 2
    assert receiver.deadline() == pytest.approx(2.0 + 3 * TICK * 2 * 1.5)
    for _ in range(120):
        now = receiver.deadline()
        receiver.poll(now)
    assert receiver.deadline() - now == pytest.approx(99 * TICK + 3 * TICK * 2 * 1.5)


@pytest.mark.parametrize(("crowd", "redo"), [(0, 1.0), (48, 3.0)])
def test_what_was_asked_for_is_asked_for_again_after_a_while(crowd, redo):
    receiver = steady(crowd=crowd)
    assert requests(receiver, 2.0) == [Ask(0), Ask(1)]
    fill(receiver, 9, 1.9 + redo)
    assert requests(receiver, 1.9 + redo) == []
    fill(receiver, 8, 2.0 + redo)
    again = [AskPart(0, 1, WHOLE_CHUNK), AskPart(1, 1, WHOLE_CHUNK)]
    assert requests(receiver, 2.0 + redo) == again


@pytest.mark.parametrize(
    ("now", "asked"), [(2.5, [Ask(1)]), (3.0, [AskPart(0, 1, WHOLE_CHUNK & ~1), Ask(1)])]
)
def test_what_a_chunk_lacks_is_asked_for_again_after_a_while(now, asked):
    receiver = steady(1.0, read_ahead=1)
    assert requests(receiver, 1.0) == [Ask(0)]
    receiver.store(0, 1, 2.0)
    fill(receiver, 9, now)
    assert requests(receiver, now) == asked
    fill(receiver, 8, now + 0.01)
    assert requests(receiver, now + 0.01) == []


def test_what_others_ask_for_puts_off_its_own_request():
    receiver = steady()
    requests(receiver, TICK)
    assert receiver.deadline() == pytest.approx(4 * TICK)
    receiver.receive(Ask(0), 0.1)
    assert receiver.deadline() == pytest.approx(0.1 + 3 * TICK)
    receiver.store(1, 0b1, 0.2)
    receiver.receive(Ask(0), 0.25)
    assert receiver.deadline() == pytest.approx(0.25 + 3 * TICK)


def test_a_part_of_a_chunk_that_another_asked_for_does_not_stand_for_the_whole():
    receiver = steady()
    receiver.receive(AskPart(0, 1, 0b1), 0.01)
    fill(receiver, 9, 0.02)
    assert requests(receiver, 0.02) == [Ask(0), Ask(1)]


def test_repairs_that_several_asked_for_are_all_left_out():
    receiver = steady(0.5)
    requests(receiver, TICK)
    receiver.store(0, WHOLE_CHUNK & ~0b1110, 0.05)
    receiver.receive(AskPart(0, 1, 0b0010), 0.051)
    receiver.receive(AskPart(0, 1, 0b0100), 0.052)
    assert requests(receiver, 0.05 + REPAIR_DELAY) == [AskPart(0, 1, 0b1000)]
    receiver.receive(AskPart(0, 1, 0b0100), 0.09)
    fill(receiver, 9, 0.1)
    assert AskPart(0, 1, 0b1110) not in requests(receiver, 0.1)


@pytest.mark.parametrize(("crowd", "delay"), [(0, REPAIR_DELAY / 2), (48, REPAIR_DELAY * 1.5)])
def test_a_repair_is_asked_for_after_a_delay_that_grows_with_the_crowd(crowd, delay):
    receiver = steady(0.5, crowd=crowd)
    requests(receiver, 2.0)
    receiver.store(0, WHOLE_CHUNK & ~LOST, 2.01)
    receiver.store(1, 0b1, 2.02)
    due = receiver.deadline()
    assert due == pytest.approx(2.02 + delay)
    assert requests(receiver, due - 0.001) == []
    assert requests(receiver, due) == [AskPart(0, 1, LOST)]


def test_a_repair_that_came_by_itself_is_not_asked_for():
    receiver = steady(0.5)
    requests(receiver, TICK)
    receiver.store(0, WHOLE_CHUNK & ~LOST, 0.05)
    receiver.store(1, 0b1, 0.051)
    receiver.store(0, LOST, 0.052)
    assert not any(packet.chunk == 0 for packet in requests(receiver, 0.08))


def test_a_full_chunk_that_is_not_written_yet_makes_it_ask_for_the_next_too():
    receiver = steady()
    requests(receiver, TICK)
    receiver.store(0, WHOLE_CHUNK, 0.04)
    assert requests(receiver, 0.04) == [Ask(2)]


def test_only_so_many_chunks_are_in_progress():
    receiver = steady(chunks=20, in_progress=8)
    for chunk in range(8):
        receiver.store(chunk, 0b1, 0.01)
    asked = requests(receiver, receiver.deadline() + 1)
    assert {packet.chunk for packet in asked} == set(range(8))
    receiver.store(0, WHOLE_CHUNK, 2.0)
    assert Ask(8) in requests(receiver, 2.0)


def test_what_a_wrong_server_sent_is_asked_for_anew_at_once():
    receiver = steady(0.5)
    assert requests(receiver, TICK) == [Ask(0), Ask(1)]
    receiver.store(0, WHOLE_CHUNK & ~LOST, 0.04)
    receiver.store(1, 0b1, 0.041)
    receiver.start_over()
    assert receiver.deadline() == 0.0
    assert requests(receiver, 0.042) == [AskPart(0, 1, WHOLE_CHUNK), AskPart(1, 1, WHOLE_CHUNK)]
    assert requests(receiver, 0.042 + REPAIR_DELAY) == []
    assert receiver.store(0, WHOLE_CHUNK, 0.07) == WHOLE_CHUNK


def test_a_wrong_chunk_is_asked_for_when_its_rest_is_over():
    receiver = steady(0.5, chunks=4, knows=True, read_ahead=1)
    requests(receiver, TICK)
    receiver.store(0, WHOLE_CHUNK, 0.1)
    receiver.reject(0, 0.1)
    receiver.store(1, 0b1, 0.11)
    receiver.poll(0.11)
    due = receiver.deadline()
    assert due == pytest.approx(0.1 + 0.05 * 0.75)
    assert requests(receiver, due) == [AskPart(0, 1, WHOLE_CHUNK)]
    assert receiver.counts.rejections == 1
    receiver.store(2, WHOLE_CHUNK, 0.2)
    receiver.reject(2, 0.2)
    assert receiver.counts.rejections == 2


def test_a_wrong_chunk_rests_so_briefly_that_there_are_several_tries():
    receiver = steady(1.0, chunks=4, knows=True, silence=2.0)
    rests = []
    for now in range(1, 11):
        receiver.store(0, WHOLE_CHUNK, now / 5)
        receiver.reject(0, now / 5)
        receiver.store(1, 1 << now, now / 5)
        receiver.poll(now / 5)
        rests.append(round(receiver._resting.until[0] - now / 5, 6))
        receiver.poll(now / 5 + 0.2)
    assert rests == [0.05, 0.1, *[0.2] * 8]


def test_what_is_lost_of_a_wrong_chunk_is_not_asked_for_before_its_rest_is_over():
    receiver = steady(0.5, chunks=4, knows=True)
    requests(receiver, TICK)
    receiver.store(0, WHOLE_CHUNK, 0.1)
    receiver.reject(0, 0.1)
    receiver.store(0, 0b1, 0.11)
    receiver.store(1, 0b1, 0.111)
    assert not any(packet.chunk == 0 for packet in requests(receiver, 0.13))
    receiver.poll(0.1376)
    assert AskPart(0, 1, WHOLE_CHUNK & ~1) in requests(receiver, 0.148)


def test_it_gives_up_when_no_chunk_is_right_any_more():
    receiver = vouching(silence=2.0)
    receiver.store(0, WHOLE_CHUNK, 1.0)
    receiver.written(1.0)
    now = 1.0
    with pytest.raises(NotVouchedFor, match="in 10 seconds"):
        while now < 60:
            receiver.store(1, 1 << int(now * 10), now)
            receiver.poll(now)
            now += 0.1
    assert 11 < now < 12


def test_blocks_that_came_twice_are_counted_together():
    receiver = joined()
    receiver.store(0, 0b0111, 0.1)
    receiver.store(0, 0b0011, 0.1)
    receiver.store(0, 0b1100, 0.1)
    assert receiver.counts.duplicate_block == 3


def test_a_chunk_begun_with_blocks_beyond_its_end_is_asked_for_like_any_other():
    receiver = Receiver(7, Tuning(randomize=False), now=0.0, raw=True)
    receiver.receive(Joined2(7, size=(1 << 20) + 3000), 0.0)
    receiver.poll(TICK)
    assert receiver.store(1, 1 << 5, 0.1) == 0
    fill(receiver, 0, 0.2)
    assert requests(receiver, 0.2) == []
    assert AskPart(1, 1, 0b111) in requests(receiver, 1.5)
