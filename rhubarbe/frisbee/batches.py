"""Many datagrams by one system call, where they arrive one by one: recvmmsg(2), by ctypes.

Headers and data of BLOCK packets are received into two separate rows, so that the headers of all
are looked at together, and the data of consecutive blocks is one piece.
"""

import ctypes
import errno
import os
import socket
import sys
from typing import NamedTuple

from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    BLOCK_HEADER_BYTES,
    BLOCK_SIZE,
    LONGEST_PARITY_BYTES,
)

MOST = 256  # datagrams
_MSG_DONTWAIT = 0x40
_ADDRESS_BYTES = 16
# Room behind a block, by which a longer datagram is told from one: combined blocks have their
# numbers in front, and a datagram that is longer than they can be is told from them, too.
_REST = LONGEST_PARITY_BYTES - BLOCK_BYTES + 8
_PIECES = 3


class _Piece(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    """`struct msghdr`: recvmsg(2)."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    """`struct mmsghdr`: recvmmsg(2)."""

    _fields_ = [("header", _Header), ("length", ctypes.c_uint32)]


class Datagrams(NamedTuple):
    """What one call received: a row each of headers, of data, of lengths and of addresses.

    A datagram begins in ``headers``, goes on in ``data``, and ends in ``rests`` where it is longer
    than a block's; ``lengths`` are in bytes. ``senders`` are the first words of
    `struct sockaddr_in`, which have the address and the port.
    """

    number: int
    headers: memoryview
    data: memoryview
    rests: memoryview
    lengths: list[int]
    senders: list[int]

    def sender(self, index: int) -> tuple[str, int]:
        """Return the address and the port that a datagram came from."""
        word = self.senders[index].to_bytes(8, sys.byteorder)
        return socket.inet_ntoa(word[4:]), int.from_bytes(word[2:4], "big")

    def whole(self, index: int) -> memoryview:
        """Return a copy of a datagram; one that is longer than any of ours is cut."""
        header = self.headers[index * BLOCK_HEADER_BYTES : (index + 1) * BLOCK_HEADER_BYTES]
        data = self.data[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        rest = self.rests[index * _REST : (index + 1) * _REST]
        length = min(self.lengths[index], LONGEST_PARITY_BYTES)
        return memoryview(b"".join((header, data, rest))[:length])


def sender_word(address: bytes, port: int) -> int:
    """Return the first word of the `struct sockaddr_in` of an address and a port."""
    family = socket.AF_INET.to_bytes(2, sys.byteorder)
    return int.from_bytes(family + port.to_bytes(2, "big") + address, sys.byteorder)


class BatchReceiver:
    """Room for ``MOST`` datagrams, and the call that fills it."""

    def __init__(self) -> None:
        """Raise AttributeError or OSError where the system's library has no such call."""
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._call.argtypes = [
            *(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
        ]
        self._headers = bytearray(MOST * BLOCK_HEADER_BYTES)
        self._data = bytearray(MOST * BLOCK_SIZE)
        self._senders = bytearray(MOST * _ADDRESS_BYTES)
        self._rests = bytearray(MOST * _REST)
        self._pieces = (_Piece * (MOST * _PIECES))()
        self._messages = (_Message * MOST)()
        self._lay_out()
        self._address = ctypes.addressof(self._messages)
        words = memoryview(self._messages).cast("B").cast("I")
        step = ctypes.sizeof(_Message) // 4
        self._lengths = words[_Message.length.offset // 4 :: step]
        self._sender_words = memoryview(self._senders).cast("Q")

    def _lay_out(self) -> None:
        headers, data, senders, rests = (
            _address_of(room) for room in (self._headers, self._data, self._senders, self._rests)
        )
        pieces = ctypes.addressof(self._pieces)
        for index, message in enumerate(self._messages):
            first = index * _PIECES
            self._pieces[first] = _Piece(headers + index * BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES)
            self._pieces[first + 1] = _Piece(data + index * BLOCK_SIZE, BLOCK_SIZE)
            self._pieces[first + 2] = _Piece(rests + index * _REST, _REST)
            message.header.name = senders + index * _ADDRESS_BYTES
            message.header.name_length = _ADDRESS_BYTES
            message.header.pieces = pieces + first * ctypes.sizeof(_Piece)
            message.header.piece_count = _PIECES

    def receive(self, ready: socket.socket) -> Datagrams | None:
        """Receive what has come, as far as there is room for it; None where nothing has.

        What is returned is overwritten by the next call. Raises OSError.
        """
        count = self._call(ready.fileno(), self._address, MOST, _MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                return None
            raise OSError(number, os.strerror(number))
        return Datagrams(
            count,
            memoryview(self._headers)[: count * BLOCK_HEADER_BYTES],
            memoryview(self._data)[: count * BLOCK_SIZE],
            memoryview(self._rests)[: count * _REST],
            self._lengths[:count].tolist(),
            self._sender_words[: 2 * count : 2].tolist(),
        )


def _address_of(room: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(room))
