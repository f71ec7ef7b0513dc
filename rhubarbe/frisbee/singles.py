"""Datagrams that arrive one by one, as from a network card: many are taken by one system call.

What is done for all of them at once costs little each, as for a train.
"""

import socket
import time
from collections.abc import Iterator
from functools import reduce
from operator import or_

from rhubarbe.frisbee.batches import MOST, BatchReceiver, Datagrams, sender_word
from rhubarbe.frisbee.multicast import ICMP_ERRORS, Arrival, Channel
from rhubarbe.frisbee.packets import BLOCK_BYTES, BLOCK_HEADER_BYTES, BLOCK_SIZE
from rhubarbe.frisbee.trains import NO_PLACE, BlockSigns, Row, block_signs, header_columns

_BATCHES_PER_TURN = 16
# A call for a few datagrams costs as much as one for many. Where so many arrive a second, it is put
# off until it is worth it, but not for long, so that no buffer of the kernel's overflows.
_MANY_PER_S, _WORTH_A_CALL, _LONGEST_PAUSE_S = 20_000, 64, 0.001


class Singles:
    """Receives them from the sockets of a channel."""

    def __init__(self, channel: Channel) -> None:
        """Raise OSError or AttributeError where the system has no such call."""
        self._port = channel.port
        self._receiver = BatchReceiver()
        self._arrived = 0
        self._counted_at = 0.0

    def receive(self, ready: socket.socket, server: str, now: float) -> Iterator[Row | Arrival]:
        """Yield what came: rows of blocks of the server, and whatever else; each for a moment only.

        Before the server is known, it is empty.
        """
        self._gather(now)
        for _ in range(_BATCHES_PER_TURN):
            got = self._receive(ready)
            if got is None:
                return
            self._arrived += got.number
            yield from self._sorted(got, server)
            if got.number < MOST:
                return

    def _receive(self, ready: socket.socket) -> Datagrams | None:
        while True:
            try:
                return self._receiver.receive(ready)
            except OSError as error:  # an ICMP error of an earlier datagram, in unicast
                if error.errno not in ICMP_ERRORS:
                    raise

    def _gather(self, now: float) -> None:
        rate = self._arrived / max(now - self._counted_at, 1e-6)
        self._arrived, self._counted_at = 0, now
        if rate > _MANY_PER_S:
            time.sleep(min(_WORTH_A_CALL / rate, _LONGEST_PAUSE_S))

    def _sorted(self, got: Datagrams, server: str) -> Iterator[Row | Arrival]:
        source = socket.inet_aton(server) if server else bytes(4)
        sender = sender_word(source, self._port) if server else 0
        kinds, sources, places = header_columns(got.headers, BLOCK_HEADER_BYTES)
        start = 0
        for index in _strange(got, sender, block_signs(source), kinds, sources, places):
            yield from _row(got.data, places, start, index)
            yield _arrival(got, index)
            start = index + 1
        yield from _row(got.data, places, start, got.number)


def _strange(
    got: Datagrams,
    sender: int,
    signs: BlockSigns,
    kinds: list[int],
    sources: list[int],
    places: list[int],
) -> list[int]:
    """Return which datagrams are no blocks of the sender."""
    count = got.number
    if (
        got.lengths == [BLOCK_BYTES] * count
        and got.senders == [sender] * count
        and kinds == [signs.kind] * count
        and sources == [signs.length_and_source] * count
        and not reduce(or_, places, 0) & NO_PLACE
    ):
        return []
    rows = zip(got.lengths, got.senders, kinds, sources, places, strict=True)
    own = (BLOCK_BYTES, sender, signs.kind, signs.length_and_source)
    return [index for index, row in enumerate(rows) if row[:4] != own or row[4] & NO_PLACE]


def _arrival(got: Datagrams, index: int) -> Arrival:
    return Arrival(got.whole(index), got.lengths[index] or 1, *got.sender(index))


def _row(data: memoryview, places: list[int], start: int, end: int) -> Iterator[Row]:
    if start < end:
        yield Row(data[start * BLOCK_SIZE : end * BLOCK_SIZE], places[start:end])
