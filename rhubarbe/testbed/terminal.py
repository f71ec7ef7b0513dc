"""A pseudo-terminal: the side of whoever sits at it, as two coroutines."""

import asyncio
import errno
import fcntl
import os
import pty
import struct
import termios
from collections.abc import Callable
from typing import Any

ROWS, COLUMNS = 50, 1000  # wide enough that no line is ever folded
PIECE = 1 << 16


class Terminal:
    """A new pseudo-terminal; `name` is what its programs open."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.set_blocking(self._master, False)
        self.name = os.ttyname(self._slave)

    async def read(self) -> bytes:
        """Read what the programs wrote, as it comes; empty once all of them have closed it."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._master, PIECE)
            except BlockingIOError:
                await self._until(loop.add_reader, loop.remove_reader)
            except OSError as error:
                if error.errno == errno.EIO:  # how Linux tells that the other side is closed
                    return b""
                raise

    async def write(self, data: bytes) -> None:
        """Type on it; waits while the programs do not read."""
        loop = asyncio.get_running_loop()
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await self._until(loop.add_writer, loop.remove_writer)

    def hang_up(self) -> None:
        """Let go of the programs' side, which was held open until one of them had opened it."""
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1

    def close(self) -> None:
        """Close both sides; the programs that are left get a hangup from the kernel."""
        self.hang_up()
        os.close(self._master)

    async def _until(self, watch: Callable[..., None], unwatch: Callable[[int], Any]) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watch(self._master, _resolve, ready)
        try:
            await ready
        finally:
            unwatch(self._master)


def _resolve(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
