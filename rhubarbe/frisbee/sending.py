"""The server as a state machine: packets and time in, replies and trains of blocks out.

What is asked for is kept as one map of blocks a chunk, so that equal requests of many clients are
one transmission. Repairs (partial requests) go before whole chunks, since a client holds a buffer
for each chunk that it waits to repair, but never more than a few in a row.
"""

from collections.abc import Sequence
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
        self.longest_queue = self.most_blocks = 0
        self.intervals = self.missed = self.overruns = 0


class Sender:
    """Serves one file of ``size`` bytes to whoever asks.

    ``receive`` takes each packet, ``next_train`` gives what is to be sent next, in bursts of the
    length that the pacer allows.
    """

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self.blocks = -(-size // BLOCK_SIZE)
        self.chunks = -(-self.blocks // BLOCKS_PER_CHUNK)
        self.roster = ClientRoster()
        self.counters = Counters()
        self.idle_since = now
        self._accounts = Accounts(self.blocks)
        self._whole = Wishes()
        self._repairs = Wishes()
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
        return bool(self._left or self._whole or self._repairs)

    def receive(self, packet: Packet, address: str, now: float) -> Packet | None:
        """Take a packet of the client at ``address``; return the reply to multicast, if any.

        Raises:
            MalformedPacket: it asks for what the file does not have, or only a server says this.

        """
        self.counters.messages_in += 1
        match packet:
            case Join():
                self.roster.join(packet.client, address)
                return Joined(self.blocks)
            case Join2():
                self.roster.join(packet.client, address)
                return Joined2(packet.client, size=self.size)
            case Ask() | AskPart():
                self._request(packet, address)
            case Leave() | Leave2():
                self._leave(packet, address, now)
            case _:
                raise MalformedPacket(f"unexpected {type(packet).__name__} from a client")
        return None

    def _leave(self, packet: Leave | Leave2, address: str, now: float) -> None:
        """Empty the queue once all who joined have left, since nobody waits for it then."""
        has_left = self.roster.leave(packet, address, now)
        if has_left and not self.roster.active and not self.roster.is_deceived:
            self._whole.clear()
            self._repairs.clear()
            self._left = 0
            self.idle_since = now

    def _request(self, packet: Ask | AskPart, address: str) -> None:
        if packet.chunk >= self.chunks:
            raise MalformedPacket(f"no chunk {packet.chunk} in a file of {self.chunks}")
        wanted = packet.blocks & self.valid(packet.chunk)
        if not wanted:
            raise MalformedPacket(f"no such blocks in chunk {packet.chunk}")
        if self._accounts.is_spent(address):
            raise MalformedPacket("it has got more blocks than anybody needs")
        self.roster.asks(address)
        self.counters.requests += 1
        merged = self._enqueue(packet.chunk, wanted, address)
        self.counters.merged += merged
        if isinstance(packet, AskPart):
            self.counters.partial_requests += 1
            self.counters.partial_blocks += wanted.bit_count()
            is_lost = bool(packet.again) and self._accounts.is_modest(address)
            self.counters.repeated_requests += is_lost and not merged
        self._measure()

    def _enqueue(self, chunk: int, wanted: int, address: str) -> bool:
        """Add to the queue; true when the chunk was in it already."""
        whole = wanted == self.valid(chunk)
        if chunk in self._whole:
            self._whole.add(chunk, wanted, address)
            return True
        if chunk == self._current and self._left:
            if whole and self._current_whole:
                self.counters.duplicates += 1
                return True
            ahead = wanted >> self._next_block << self._next_block
            self._left |= ahead
            wanted ^= ahead
            whole = False
            if not wanted:
                return True
        merged = chunk in self._repairs
        if whole or not self._accounts.is_modest(address):
            self._whole.add(chunk, wanted | self._repairs.remove(chunk), address)
        else:
            self._repairs.add(chunk, wanted, address)
        return merged

    def _measure(self) -> None:
        counters = self.counters
        length = len(self._whole) + len(self._repairs) + bool(self._left)
        if length > counters.longest_queue:
            counters.longest_queue = length
            waiting = self._whole.blocks + self._repairs.blocks
            counters.most_blocks = waiting + self._left.bit_count()

    def _open(self) -> None:
        """Take the next element of the queue."""
        repairs_first = self._repairs_sent < _REPAIRS_IN_A_ROW or not self._whole
        is_repair = bool(self._repairs) and repairs_first
        wish = (self._repairs if is_repair else self._whole).next()
        self._accounts.charge(wish, is_repair=is_repair)
        self._repairs_sent = self._repairs_sent + 1 if is_repair else 0
        self._current, self._left = wish.chunk, wish.blocks
        self._current_whole = wish.blocks == self.valid(wish.chunk)
        self._next_block = 0

    def next_train(self, limit: int, now: float) -> Train | None:
        """Take up to ``limit`` blocks off the queue; None when nobody wants anything."""
        if not self._left:
            if not (self._whole or self._repairs):
                return None
            self._open()
        blocks = lowest_blocks(self._left, limit)
        self._next_block = blocks[-1] + 1
        self._left = self._left >> self._next_block << self._next_block
        self.counters.blocks_sent += len(blocks)
        self.counters.trains_sent += 1
        if not self.busy:
            self.idle_since = now
            self.counters.idles += 1
        return Train(self._current, blocks)

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
