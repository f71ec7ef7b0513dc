"""A bad network before what serves by UDP: of each answer, only the first half comes."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

Place = tuple[str, int]
LARGEST = 65536


@contextmanager
def halved(place: Place, server: Place) -> Iterator[None]:
    """Carry datagrams between who sends to `place` and the server, up to the end of the context."""
    with ExitStack() as ends:
        near = _opened(ends)
        near.bind(place)
        _heard(near, _Halver(near, server, ends).ask, ends)
        yield


class _Halver:
    """What clients speak to; each has a port of its own on the way to the server."""

    def __init__(self, near: socket.socket, server: Place, ends: ExitStack) -> None:
        self._near = near
        self._server = server
        self._ends = ends
        self._ways: dict[Place, socket.socket] = {}

    def ask(self) -> None:
        """Pass on what a client sends."""
        with suppress(OSError):  # what is lost on the way is lost
            data, client = self._near.recvfrom(LARGEST)
            if client not in self._ways:
                way = self._ways[client] = _opened(self._ends)
                way.connect(self._server)
                _heard(way, lambda: self._answer(way, client), self._ends)
            self._ways[client].send(data)

    def _answer(self, way: socket.socket, client: Place) -> None:
        with suppress(OSError):
            data = way.recv(LARGEST)
            self._near.sendto(data[: len(data) // 2], client)


def _opened(ends: ExitStack) -> socket.socket:
    return ends.enter_context(socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))


def _heard(port: socket.socket, hear: Callable[[], None], ends: ExitStack) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(port, hear)
    ends.callback(loop.remove_reader, port)
