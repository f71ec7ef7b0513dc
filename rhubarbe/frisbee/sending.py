"""The server as a state machine: packets and time in, replies and trains of blocks out.

What is asked for is kept as one map of blocks a chunk, so that equal requests of many clients are
one transmission. Repairs (partial requests) go before whole chunks, since a client holds a buffer
for each chunk that it waits to repair, but never more than a few in a row. While all who take part
understand parity, repairs are gathered for a moment, and combined.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import chain
from operator import or_
from typing import NamedTuple

from rhubarbe.frisbee.errors import MalformedPacket
from rhubarbe.frisbee.packets import (
    BLOCK_SIZE,
    BLOCKS_PER_CHUNK,
    WHOLE_CHUNK,
    Ask,
    AskPart,
    Join,
    Join2,
    Joined,
    Joined2,
    Leave,
    Leave2,
    Packet,
)
from rhubarbe.frisbee.parity import MOST_CLIENTS, Lacks, ParityTrain, combined
from rhubarbe.frisbee.roster import ClientRoster
from rhubarbe.frisbee.wishes import Accounts, Wishes

_REPAIRS_IN_A_ROW = 4
_LINGER_S = 2.0  # that a server of one batch waits after its last client
_ABANDONED_S = 1800.0  # without a request: the clients that have not left are gone, too


class Train(NamedTuple):
    """Blocks of one chunk that leave together, ascending."""

    chunk: int
    blocks: Sequence[int]


class Counters:
    """The totals of a session, printed at its end."""

    def __init__(self) -> None:
        self.messages_in = self.messages_out = 0
        self.requests = self.merged = self.duplicates = self.repeated_requests = 0
        self.partial_requests = self.partial_blocks = 0
        self.blocks_sent = self.trains_sent = self.idles = 0
        self.combinations_sent = 0  # each is one of the blocks sent, too
        self.longest_queue = self.most_blocks = 0
        self.intervals = self.missed = self.overruns = 0


class Sender:
    """Serves one file of ``size`` bytes to whoever asks.

    ``receive`` takes each packet, ``next_train`` gives what is to be sent next, in bursts of the
    length that the pacer allows. Without ``parity`` no blocks are combined.
    """

    def __init__(self, size: int, now: float, *, parity: bool = True) -> None:
        self.size = size
        self.blocks = -(-size // BLOCK_SIZE)
        self.chunks = -(-self.blocks // BLOCKS_PER_CHUNK)
        self.roster = ClientRoster()
        self.counters = Counters()
        self.idle_since = now
        self._accounts = Accounts(self.blocks)
        self._whole = Wishes()
        self._repairs = Wishes()
        self._parity = parity
        self._lacks = Lacks()
        self._combinations: list[tuple[int, ...]] = []
        self._in_combinations = 0
        self._helped: dict[str, int] = {}  # what clients lack that these combinations are for
        self._current = -1
        self._left = 0
        self._next_block = 0
        self._current_whole = False
        self._repairs_sent = 0

    def valid(self, chunk: int) -> int:
        """Map of the blocks that ``chunk`` has: all but in a short last chunk."""
        if chunk < self.chunks - 1:
            return WHOLE_CHUNK
        return (1 << (self.blocks - chunk * BLOCKS_PER_CHUNK)) - 1

    @property
    def busy(self) -> bool:
        """Whether anything is left to send."""
        waiting = self._whole or self._repairs or self._lacks
        return bool(self._left or self._combinations or waiting)

    @property
    def due(self) -> float:
        """When there is something to send at the latest, if there is nothing now."""
        return self._lacks.due

    @property
    def _combines(self) -> bool:
        """Whether all who take part know what to do with combined blocks, and are not too many."""
        roster = self.roster
        return self._parity and roster.understands_parity and roster.active <= MOST_CLIENTS

    def receive(self, packet: Packet, address: str, now: float) -> Packet | None:
        """Take a packet of the client at ``address``; return the reply to multicast, if any.

        Raises:
            MalformedPacket: it asks for what the file does not have, or only a server says this.

        """
        self.counters.messages_in += 1
        combined_before = self._combines
        match packet:
            case Join():
                self.roster.join(packet.client, address, parity=packet.parity)
                return Joined(self.blocks, parity=self._combines)
            case Join2():
                self.roster.join(packet.client, address, parity=packet.parity)
                return Joined2(packet.client, size=self.size, parity=self._combines)
            case Ask() | AskPart():
                self._request(packet, address, now)
            case Leave() | Leave2():
                self._leave(packet, address, now)
            case _:
                raise MalformedPacket(f"unexpected {type(packet).__name__} from a client")
        if self._combines != combined_before and self.roster.active:
            return Joined(self.blocks, parity=self._combines)  # whether to tell all that is lacking
        return None

    def _leave(self, packet: Leave | Leave2, address: str, now: float) -> None:
        """Empty the queue once all who joined have left, since nobody waits for it then."""
        has_left = self.roster.leave(packet, address, now)
        if has_left and not self.roster.active and not self.roster.is_deceived:
            self._whole.clear()
            self._repairs.clear()
            self._lacks.clear()
            self._combinations, self._in_combinations = [], 0
            self._left = 0
            self.idle_since = now

    def _request(self, packet: Ask | AskPart, address: str, now: float) -> None:
        if packet.chunk >= self.chunks:
            raise MalformedPacket(f"no chunk {packet.chunk} in a file of {self.chunks}")
        wanted = packet.blocks & self.valid(packet.chunk)
        if not wanted:
            raise MalformedPacket(f"no such blocks in chunk {packet.chunk}")
        if self._accounts.is_spent(address):
            raise MalformedPacket("it has got more blocks than anybody needs")
        self.roster.asks(address, parity=packet.parity)
        self.counters.requests += 1
        merged = self._enqueue(packet.chunk, wanted, address, now)
        self.counters.merged += merged
        if isinstance(packet, AskPart):
            self.counters.partial_requests += 1
            self.counters.partial_blocks += wanted.bit_count()
            is_lost = bool(packet.again) and self._accounts.is_modest(address)
            self.counters.repeated_requests += is_lost and not merged
        self._measure()

    def _enqueue(self, chunk: int, wanted: int, address: str, now: float) -> bool:
        """Add to the queue; true when the chunk was in it already."""
        if chunk in self._whole:
            self._whole.add(chunk, wanted, address)
            return True
        if chunk == self._current:
            wanted = self._join_current(wanted, address)
            if not wanted:
                return True
        merged = chunk in self._repairs or chunk in self._lacks
        if wanted == self.valid(chunk) or not self._accounts.is_modest(address):
            self._enqueue_whole(chunk, wanted, address)
        elif not self._gather(chunk, wanted, address, now):
            self._repairs.add(chunk, wanted, address)
        return merged

    def _join_current(self, wanted: int, address: str) -> int:
        """Add to the chunk that is being sent; return the blocks that are not to come by that."""
        if self._left and self._current_whole and wanted == self.valid(self._current):
            self.counters.duplicates += 1
            return 0
        if not wanted & ~self._helped.get(address, 0):  # no packet has two of them
            wanted &= ~self._in_combinations
        if not self._left:
            return wanted
        ahead = wanted >> self._next_block << self._next_block
        self._left |= ahead
        return wanted ^ ahead

    def _enqueue_whole(self, chunk: int, wanted: int, address: str) -> None:
        """Add to the whole chunks, with what others wait for of this one, each in its own turn."""
        lacks = self._lacks.of(chunk)
        waiting = reduce(or_, lacks.values(), self._repairs.of(chunk))
        for other in dict.fromkeys([*self._repairs.askers(chunk), *lacks]):
            self._whole.add(chunk, waiting, other)
        self._whole.add(chunk, wanted, address)
        if chunk in self._whole:  # else each of them waits for too many chunks
            self._repairs.remove(chunk)
            self._lacks.forget(chunk)

    def _gather(self, chunk: int, wanted: int, address: str, now: float) -> bool:
        """Wait for what others lack of the chunk, too; false where that is not to be done."""
        if not self._combines or self.roster.addresses <= 1:
            return False
        if not self._lacks.note(chunk, address, wanted) or chunk in self._repairs:
            return False
        told = self._lacks.of(chunk).keys()
        self._lacks.gather(chunk, now, all_told=self.roster.are_all(told))
        return True

    def _gathered(self, now: float) -> None:
        """Put the chunks into the queue that have been waited for long enough."""
        for chunk in self._lacks.ready(now):
            for address, blocks in self._lacks.of(chunk).items():
                self._repairs.add(chunk, blocks, address)
            if chunk not in self._repairs:  # each of them waits for too many chunks
                self._lacks.forget(chunk)

    def _measure(self) -> None:
        counters = self.counters
        length = len(self._whole) + len(self._repairs) + len(self._lacks) + bool(self._left)
        if length > counters.longest_queue:
            counters.longest_queue = length
            waiting = self._whole.blocks + self._repairs.blocks
            counters.most_blocks = waiting + self._left.bit_count()

    def _open(self) -> None:
        """Take the next element of the queue."""
        repairs_first = self._repairs_sent < _REPAIRS_IN_A_ROW or not self._whole
        is_repair = bool(self._repairs) and repairs_first
        wish = (self._repairs if is_repair else self._whole).next()
        lacks = self._lacks.forget(wish.chunk) if is_repair else {}
        wanted = reduce(or_, lacks.values(), wish.blocks)  # with what is being gathered still
        self._current, self._left, self._helped = wish.chunk, wanted, lacks
        if len(lacks) > 1 and self._combines:
            self._left, self._combinations = combined(lacks.values(), wanted)
        self._in_combinations = wanted ^ self._left
        packets = self._left.bit_count() + len(self._combinations)
        self._accounts.charge(wish.address, packets, is_repair=is_repair)
        self._repairs_sent = self._repairs_sent + 1 if is_repair else 0
        self._current_whole = self._left == self.valid(wish.chunk)
        self._next_block = 0

    def next_train(self, limit: int, now: float) -> Train | ParityTrain | None:
        """Take up to ``limit`` packets off the queue; None when nothing is to be sent yet."""
        if self._lacks:
            self._gathered(now)
        if self._combinations and not self._combines:
            self._left |= self._in_combinations
            self._combinations, self._in_combinations, self._next_block = [], 0, 0
        if not self._left and not self._combinations:
            if not (self._whole or self._repairs):
                return None
            self._open()
        train = self._next_blocks(limit) if self._left else self._next_combinations(limit)
        self.counters.trains_sent += 1
        if not self.busy:
            self.idle_since = now
            self.counters.idles += 1
        return train

    def _next_blocks(self, limit: int) -> Train:
        blocks = lowest_blocks(self._left, limit)
        self._next_block = blocks[-1] + 1
        self._left = self._left >> self._next_block << self._next_block
        self.counters.blocks_sent += len(blocks)
        return Train(self._current, blocks)

    def _next_combinations(self, limit: int) -> ParityTrain:
        packets = self._combinations[:limit]
        del self._combinations[:limit]
        for block in chain.from_iterable(packets):
            self._in_combinations ^= 1 << block
        self.counters.blocks_sent += len(packets)
        self.counters.combinations_sent += len(packets)
        return ParityTrain(self._current, packets, len(self._combinations))

    def over(self, limit: float, now: float) -> str | None:
        """Say why the server ends: no request for ``limit`` seconds; if below 0, no client left."""
        if self.busy or not limit:
            return None
        if limit < 0 and self.roster.joins and not self.roster.active:
            return "Last client left!" if now - self.roster.last_left >= _LINGER_S else None
        if limit < 0:
            limit = _ABANDONED_S if self.roster.joins else float("inf")
        return f"No requests for {limit:.0f} seconds!" if now - self.idle_since > limit else None


def lowest_blocks(blocks: int, limit: int) -> Sequence[int]:
    """Return the numbers of the lowest ``limit`` bits of a map that is not 0, ascending."""
    first = (blocks & -blocks).bit_length() - 1
    shifted = blocks >> first
    run = (shifted ^ (shifted + 1)).bit_length() - 1
    if run >= limit:
        return range(first, first + limit)
    if run == shifted.bit_length():
        return range(first, first + run)
    return [first, *_numbers(blocks ^ (1 << first), limit - 1)]


def _numbers(blocks: int, limit: int) -> list[int]:
    numbers: list[int] = []
    while blocks and len(numbers) < limit:
        lowest = blocks & -blocks
        numbers.append(lowest.bit_length() - 1)
        blocks ^= lowest
    return numbers
