"""Places on the loopback network: a port where nothing listens, and servers written by hand."""

import asyncio
import contextlib
import socket

import pytest


@pytest.fixture
def free_port():
    """Return a TCP port of 127.0.0.1 that nobody uses, and hold it so that nobody will."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def listening():
    """Serve TCP connections of 127.0.0.1 by hand, and leave none open; yields the port.

    What fails in `serve` fails the test: what asyncio does then depends on the release of Python.
    """

    @contextlib.asynccontextmanager
    async def listen(serve):
        writers, failures = [], []

        async def accepted(reader, writer):
            writers.append(writer)
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await serve(reader, writer)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for writer in writers:
                writer.transport.abort()
            await asyncio.sleep(0.01)  # let the transports tell the readers
        for failure in failures:
            raise failure

    return listen
