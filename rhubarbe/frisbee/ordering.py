"""In which order a client asks for chunks: at random as a rule, so that clients help each other."""

from array import array
from collections.abc import Callable, Container

_UNSEEN, _FILLING, _FULL = 0, 1, 2


class ChunkOrder:
    """The chunks of a file, each unseen, filling or full, and which of them come next.

    ``shuffle`` puts a sequence in an order of its own; the chunks ``in_front`` come before all.
    """

    def __init__(
        self,
        chunks: int,
        shuffle: Callable[["array[int]"], None] | None = None,
        *,
        in_front: tuple[int, ...] = (),
    ) -> None:
        self._state = bytearray(chunks)
        self._order = array("I", range(chunks))
        self._position = 0
        self._again: dict[int, None] = {}
        if shuffle:
            shuffle(self._order)
        for chunk in reversed(in_front):
            self._order.remove(chunk)
            self._order.insert(0, chunk)

    def is_unseen(self, chunk: int) -> bool:
        """Whether nothing of ``chunk`` has come."""
        return self._state[chunk] == _UNSEEN

    def is_full(self, chunk: int) -> bool:
        """Whether all of ``chunk`` has come."""
        return self._state[chunk] == _FULL

    def open(self, chunk: int) -> None:
        """Note that ``chunk`` has a buffer."""
        self._state[chunk] = _FILLING

    def complete(self, chunk: int) -> None:
        """Note that all of ``chunk`` has come."""
        self._state[chunk] = _FULL

    def put_back(self, chunk: int) -> None:
        """Note that what had come of ``chunk`` is dropped."""
        self._state[chunk] = _UNSEEN
        self._again[chunk] = None

    def next(self, count: int, skip: Container[int] = ()) -> list[int]:
        """Return up to ``count`` unseen chunks but those to ``skip``, those put back first."""
        state, order = self._state, self._order
        while self._position < len(order) and state[order[self._position]] != _UNSEEN:
            self._position += 1
        self._again = {chunk: None for chunk in self._again if state[chunk] == _UNSEEN}
        found = [chunk for chunk in self._again if chunk not in skip][:count]
        position = self._position
        while len(found) < count and position < len(order):
            chunk = order[position]
            if state[chunk] == _UNSEEN and chunk not in found and chunk not in skip:
                found.append(chunk)
            position += 1
        return found
