"""Receives one image from one node, over TCP, and checks it as it arrives.

It is taken from the node's address only, and only from who sends a secret first, which the node
was told over its shell. The image is written under the name of a partial one; `complete` says when
it is whole: every chunk inflates and fills its regions, all that imagezip announced has come, and
all is synced. Disk and checking work is done in threads.
"""

import asyncio
import contextlib
import errno
import hmac
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn

from rhubarbe.concurrency.threads import to_the_end
from rhubarbe.errors import GatewayError, NodeError, why
from rhubarbe.ndz.check import ImageChecker
from rhubarbe.ndz.errors import NdzError
from rhubarbe.ndz.header import CHUNK, SECTOR
from rhubarbe.shared.partial import Busy, Partial
from rhubarbe.shared.trust import Distrust

# How long the last bytes may take to arrive once imagezip has ended on the node.
LAST_BYTES_S = 10.0
# More kinds of strangers than this need not be told apart.
MOST_REFUSALS = 10
SECRET_BYTES = 16
# The node sends the secret at once. Of more connections without it, the oldest is cut, so that
# nobody keeps the node out by holding many open.
PRESENTED_WITHIN_S = 10.0
MOST_GUESTS = 64
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def _create(partial: Path) -> Partial:
    """Open an empty file, in place of what a save left that was cut short.

    Never another's file, one that another save writes, nor one that was just given its final name.
    Raises OSError, GatewayError.
    """
    try:
        opened = Partial.open(partial)
    except Busy as error:
        raise GatewayError(f"{partial}: another save is writing it; choose another name") from error
    try:
        os.ftruncate(opened.descriptor, 0)
    except BaseException:  # interrupted too: nobody else closes it
        opened.close()
        raise
    return opened


class Collector:
    """Listens on `address`:`port` for the node at `sender`; made with `collect`.

    The node has to send the `secret` first, in ASCII; it holds for one connection.
    """

    def __init__(
        self,
        partial: Path,
        sender: str,
        on_reach: Callable[[int], None],
        on_refusal: Callable[[str], None],
    ) -> None:
        self.address = ""
        self.port = 0
        self.partial = partial
        self.secret = secrets.token_hex(SECRET_BYTES)
        self._sender = sender
        self._on_reach = on_reach
        self._on_refusal = on_refusal
        self._refusals: list[str] = []
        self._file: Partial | None = None
        self._checker = ImageChecker()
        self._received = 0
        self._has_room = True
        self._storing = threading.Lock()
        self._guests: list[asyncio.StreamWriter] = []
        self._writer: asyncio.StreamWriter | None = None
        self._news = asyncio.Event()  # more has come, or nothing more will
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, address: str) -> asyncio.Server:
        """Create the partial file and listen on a port that the kernel chooses."""
        try:
            await to_the_end(self._create_file)
            server = await asyncio.start_server(self._accept, address, 0, limit=2 * CHUNK)
        except Distrust as error:
            raise GatewayError(f"the image cannot be collected: {error}") from error
        except OSError as error:
            raise GatewayError(f"{self.partial}: cannot collect an image: {why(error)}") from error
        self.address, self.port = server.sockets[0].getsockname()[:2]
        return server

    def _create_file(self) -> None:
        self._file = _create(self.partial)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refusal = self._refusal(writer.get_extra_info("peername"))
        if not refusal and not await self._is_presented(reader, writer):
            refusal = (
                f"a sender at {self._sender} was turned away: it has not sent the secret first"
            )
        if refusal or self._writer is not None:  # somebody else may have presented it meanwhile
            writer.transport.abort()
            self._refuse(refusal or self._second())
            return
        self._writer = writer
        try:
            await self._receive(reader)
        except (OSError, NdzError, NodeError) as error:
            self._has_room = getattr(error, "errno", None) not in _NO_ROOM
            self._end(error)
        except BaseException:  # cancelled, or a fault of ours: whoever waits is told of the end
            self._end(NodeError("the collector was ended"))
            raise
        else:
            self._end(None)
        finally:
            writer.transport.abort()

    def _refusal(self, peer: tuple[str, int] | None) -> str:
        """Return why a connection is not looked at, if it is not."""
        ip = peer[0] if peer else "an unknown address"
        if ip != self._sender:
            return f"a sender at {ip} was turned away: the image comes from {self._sender}"
        return "" if self._writer is None else self._second()

    def _second(self) -> str:
        return f"a second sender at {self._sender} was turned away: only the first is received"

    async def _is_presented(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Tell whether who connected sends the secret first, soon."""
        self._guests.append(writer)
        if len(self._guests) > MOST_GUESTS:
            self._guests.pop(0).transport.abort()
        try:
            async with asyncio.timeout(PRESENTED_WITHIN_S):
                sent = await reader.readexactly(len(self.secret))
        except (OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
            return False
        finally:
            if writer in self._guests:
                self._guests.remove(writer)
        return hmac.compare_digest(sent, self.secret.encode())

    def _refuse(self, refusal: str) -> None:
        if refusal not in self._refusals and len(self._refusals) < MOST_REFUSALS:
            self._refusals.append(refusal)
            self._on_refusal(refusal)

    def explain(self, error: NodeError) -> NodeError:
        """Return the error of a save, with who was turned away meanwhile: it may be the reason."""
        return NodeError("; ".join((str(error), *self._refusals))) if self._refusals else error

    def _end(self, error: Exception | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
            self._ended.exception()  # retrieve it: where the node fails first, nobody else does
        self._news.set()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                chunk = await reader.readexactly(CHUNK)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    self._received += len(error.partial)
                    raise NodeError(
                        f"the image stopped within chunk {self._received // CHUNK}"
                    ) from None
                return
            last = await asyncio.to_thread(self._store, chunk)
            self._news.set()
            self._on_reach(last * SECTOR)

    def _store(self, chunk: bytes) -> int:
        """Check and write one chunk, in a thread; return the end of its covered sectors."""
        with self._storing:
            if self._file is None:
                raise NodeError("the collector was closed")
            checked = self._checker.feed(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._file.descriptor, view) :]
            self._received += CHUNK
            return checked.header.last

    async def alarm(self) -> NoReturn:
        """Wait for something to be wrong with what arrives: raises NodeError."""
        await self._outcome()
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets")

    async def _outcome(self) -> None:
        try:
            await asyncio.shield(self._ended)
        except NdzError as error:
            raise NodeError(f"what the node sends is not a whole image: {error}") from error
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> NodeError:
        return NodeError(f"{self.partial}: the image cannot be written: {error.strerror or error}")

    async def complete(self, announced: int | None) -> int:
        """Wait for the end of a whole image, and sync it; return its size in bytes.

        `announced` is the size that imagezip said. Some netcats keep the connection open for ever:
        once all that was announced is there, we close it. Raises NodeError.
        """
        try:
            async with asyncio.timeout(LAST_BYTES_S):
                await self._last_bytes(announced)
        except TimeoutError:
            raise NodeError(
                f"the image is cut short: {self._received} bytes arrived"
                f" of {announced or 'an unknown number'}"
            ) from None
        if announced is not None and announced != self._received:
            raise NodeError(f"imagezip made {announced} bytes, {self._received} arrived")
        await to_the_end(self._finish)
        return self._received

    async def _last_bytes(self, announced: int | None) -> None:
        while not self._ended.done():
            if announced is not None and self._received == announced:
                return
            self._news.clear()
            await self._news.wait()
        await self._outcome()

    def _finish(self) -> None:
        try:
            self._checker.finish()
            os.fsync(self._open_file.descriptor)
        except NdzError as error:
            raise NodeError(f"what the node sent is not a whole image: {error}") from error
        except OSError as error:
            raise self._unwritten(error) from error

    @property
    def _open_file(self) -> Partial:
        if self._file is None:
            raise NodeError("the collector was closed")
        return self._file

    @property
    def file(self) -> str:
        """A path by which we read what has come, whatever it is called by now."""
        return self._open_file.file

    def publish(self, name: str) -> None:
        """Give the image, which is complete, its name beside the partial one: for a thread.

        Raises FileExistsError, or another OSError.
        """
        self._open_file.publish(name)

    def withdraw(self, name: str) -> None:
        """Undo `publish`: for a thread. Raises OSError."""
        self._open_file.withdraw(name)

    async def close(self) -> None:
        """Close connection and file; an empty partial file goes, and one that fills the disk."""
        for writer in [*self._guests, *([self._writer] if self._writer else [])]:
            writer.transport.abort()
        await to_the_end(self._close_file)

    def _close_file(self) -> None:
        with self._storing:  # a chunk may still be on its way to the disk in another thread
            file, self._file = self._file, None
        if file is not None:
            with file:
                if self._received == 0 or not self._has_room:
                    file.forget()


@contextlib.asynccontextmanager
async def collect(
    partial: Path,
    *,
    address: str,
    sender: str,
    on_reach: Callable[[int], None],
    on_refusal: Callable[[str], None],
) -> AsyncIterator[Collector]:
    """Listen for one image, which is written to `partial`, for the length of the context.

    `sender` is the only address that is served; `on_reach` is told, after each chunk, up to which
    byte of the node's disk the image has come, and `on_refusal` of who was turned away.
    """
    collector = Collector(partial, sender, on_reach, on_refusal)
    server: asyncio.Server | None = None
    try:
        server = await collector.open(address)
        yield collector
    finally:
        if server is not None:
            server.close()
        await collector.close()
