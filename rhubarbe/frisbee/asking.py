"""A client's requests: which packets, what was asked for when, which chunks have to wait."""

import random

from rhubarbe.frisbee.collecting import Filling
from rhubarbe.frisbee.packets import Ask, AskPart
from rhubarbe.frisbee.tuning import Counts

LONGEST_REST_S = 2.0
_FIRST_REST_S = 0.05
_TRIES = 10  # at least so many before the client gives up
_NEVER = float("-inf")


class Asking:
    """Makes requests, and counts them; the second one for a chunk names its blocks in a map."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._ours: set[int] = set()
        self._asked_at: dict[int, float] = {}

    def asked_at(self, chunk: int) -> float:
        """When somebody asked for the whole of ``chunk``, which has no buffer yet."""
        return self._asked_at.get(chunk, _NEVER)

    def overheard(self, chunk: int, now: float) -> None:
        """Note that another client asked for the whole of ``chunk``."""
        self._asked_at[chunk] = now

    def opened(self, chunk: int) -> None:
        """Note that ``chunk`` has got a buffer."""
        self._asked_at.pop(chunk, None)

    def whole(self, chunk: int, blocks: int, now: float) -> Ask | AskPart:
        """Ask for a chunk that has no buffer; ``blocks`` is the map of all that it has."""
        request: Ask | AskPart = Ask(chunk, 0, blocks.bit_length())
        if chunk in self._ours:
            self._counts.full_repeats += 1
            self._count_part(blocks)
            request = AskPart(chunk, 1, blocks)
        self._counts.requests += 1
        self._ours.add(chunk)
        self._asked_at[chunk] = now
        return request

    def part(self, chunk: int, filling: Filling, wanted: int, now: float) -> AskPart:
        """Ask for some of the blocks that a chunk with a buffer lacks."""
        again = chunk in self._ours
        self._count_part(wanted)
        self._counts.requests += 1
        self._counts.repeated_requests += again
        self._ours.add(chunk)
        filling.asked |= wanted
        filling.asked_at = now
        filling.dubious = False
        return AskPart(chunk, int(again), wanted)

    def _count_part(self, wanted: int) -> None:
        self._counts.partial_requests += 1
        self._counts.lost_blocks += wanted.bit_count()


class Resting:
    """Chunks that were not what they should be, and when each may be asked for again.

    Each wrong chunk lengthens the wait, and each right one shortens it: else whoever forges blocks
    could have the server send a whole chunk for each. The wait stays short enough for several tries
    within the ``silence_s`` seconds after which the client gives up (0: it never does).
    """

    def __init__(self, chance: random.Random, silence_s: float) -> None:
        self.until: dict[int, float] = {}
        self._chance = chance
        self._rest = 0.0
        self._longest = min(LONGEST_REST_S, silence_s / _TRIES) if silence_s else LONGEST_REST_S

    def reject(self, chunk: int, now: float) -> None:
        """Keep a chunk from being asked for, for a while."""
        self._rest = min(max(2 * self._rest, _FIRST_REST_S), self._longest)
        self.until[chunk] = now + self._rest * (0.5 + self._chance.random() / 2)

    def accept(self) -> None:
        """Note that another chunk was right."""
        self._rest /= 2

    def wake(self, now: float) -> bool:
        """Have chunks asked for again whose wait is over; true when there were any."""
        rested = [chunk for chunk, due in self.until.items() if due <= now]
        for chunk in rested:
            del self.until[chunk]
        return bool(rested)
