"""Repairs by parity: the exclusive or of blocks, of which each client lacks no more than one.

Who has all of the blocks but one gets this one out of it. So a packet repairs different losses of
different clients, where without it each block that any of them lost is sent again. The server has
to know for that who lacks what: it gathers what clients tell for a moment.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain
from operator import xor
from typing import NamedTuple

from rhubarbe.frisbee.packets import BLOCK_BYTES, BLOCK_SIZE, LEAST_COMBINED, MOST_COMBINED

TELL_WITHIN_S = 0.01
"""By so much clients put off at random what they tell: not all of them at the same moment."""
GATHER_S = 0.015
"""For how long the server gathers it."""
MOST_CLIENTS = 128
"""Each tells all what it lacks of each chunk; beyond so many it is too much to be listened to."""
_NUMBER_BYTES = 2
_MOST_KNOWN = 16_384  # maps of 128 bytes: 4 MiB, all told
_MOST_TRIED = 128  # packets that a block may find a place in
_MOST_LACKED = 1 << 15  # blocks, summed over the clients: combining more takes longer than sending
_WORTH_IT = 0.9  # of the blocks at most has to be sent for one client alone


class ParityTrain(NamedTuple):
    """Combinations of blocks of a chunk that leave together; ``left`` more of it are to come."""

    chunk: int
    packets: Sequence[tuple[int, ...]]
    left: int

    @property
    def cost(self) -> float:
        """How many blocks take as long to send: each packet has the numbers of its blocks, too."""
        return len(self.packets) + sum(map(len, self.packets)) * _NUMBER_BYTES / BLOCK_BYTES


class Lacks:
    """Who lacks which blocks of chunks that wait to be repaired; those gathered first, first."""

    def __init__(self) -> None:
        self._known = 0
        self._of: dict[int, dict[str, int]] = {}
        self._due: dict[int, float] = {}

    def __contains__(self, chunk: int) -> bool:
        return chunk in self._due

    def __len__(self) -> int:
        """Return for how many chunks requests are being gathered."""
        return len(self._due)

    @property
    def due(self) -> float:
        """When the first of the chunks is to be repaired."""
        return min(self._due.values(), default=float("inf"))

    def note(self, chunk: int, address: str, blocks: int) -> bool:
        """Note what a client lacks; false where no more can be remembered."""
        of_chunk = self._of.get(chunk, {})
        if address not in of_chunk:
            if self._known >= _MOST_KNOWN or len(of_chunk) >= MOST_CLIENTS:
                return False
            self._known += 1
            self._of[chunk] = of_chunk
        of_chunk[address] = of_chunk.get(address, 0) | blocks
        return True

    def gather(self, chunk: int, now: float, *, all_told: bool) -> None:
        """Wait for what other clients lack of a chunk, unless all of them have told."""
        due = self._due.setdefault(chunk, now + GATHER_S)
        if due > now and all_told:
            self._due[chunk] = now

    def ready(self, now: float) -> list[int]:
        """Return the chunks that have been waited for long enough, and wait no more for them."""
        chunks = [chunk for chunk, due in self._due.items() if due <= now]
        for chunk in chunks:
            del self._due[chunk]
        return chunks

    def of(self, chunk: int) -> dict[str, int]:
        """Return by address which blocks clients lack of a chunk."""
        return self._of.get(chunk, {})

    def forget(self, chunk: int) -> dict[str, int]:
        """Return by address which blocks clients lack of a chunk, and forget all about it."""
        self._due.pop(chunk, None)
        lacks = self._of.pop(chunk, {})
        self._known -= len(lacks)
        return lacks

    def clear(self) -> None:
        """Forget all."""
        self._known = 0
        self._of.clear()
        self._due.clear()


def combined(lacks: Iterable[int], wanted: int) -> tuple[int, list[tuple[int, ...]]]:
    """Return which of the blocks wanted are sent as they are, and which combined in packets.

    Each of ``lacks`` is what one client lacks. A packet has no two blocks of one client: those that
    most clients lack find their places first.
    """
    lacks = [blocks & wanted for blocks in lacks]
    counts = [blocks.bit_count() for blocks in lacks]
    if max(counts, default=0) > _WORTH_IT * wanted.bit_count() or sum(counts) > _MOST_LACKED:
        return wanted, []
    lacking: dict[int, int] = {}
    for client, blocks in enumerate(lacks):
        for block in numbers(blocks):
            lacking[block] = lacking.get(block, 0) | 1 << client
    packets: list[list[int]] = []
    helped: list[int] = []
    for block, clients in sorted(lacking.items(), key=lambda item: -item[1].bit_count()):
        first = max(0, len(packets) - _MOST_TRIED)
        for index in range(first, len(packets)):
            if not helped[index] & clients and len(packets[index]) < MOST_COMBINED:
                packets[index].append(block)
                helped[index] |= clients
                break
        else:
            packets.append([block])
            helped.append(clients)
    combinations = [tuple(sorted(blocks)) for blocks in packets if len(blocks) >= LEAST_COMBINED]
    for block in chain.from_iterable(combinations):
        wanted ^= 1 << block
    return wanted, combinations


def numbers(blocks: int) -> Iterator[int]:
    """Yield the numbers of the blocks of a map, ascending."""
    while blocks:
        lowest = blocks & -blocks
        yield lowest.bit_length() - 1
        blocks ^= lowest


def exclusive_or(blocks: Iterable[bytes | memoryview]) -> bytes:
    """Return the exclusive or of blocks of 1024 bytes."""
    words = (int.from_bytes(block, "little") for block in blocks)
    return reduce(xor, words).to_bytes(BLOCK_SIZE, "little")


def lacking_one(blocks: Sequence[int], missing: int) -> int | None:
    """Return the only one of the blocks that is missing; None where none or several are."""
    missed = [block for block in blocks if missing >> block & 1]
    return missed[0] if len(missed) == 1 else None
