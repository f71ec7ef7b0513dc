"""Telnet sessions with real servers, silent ones, and ones that go away."""

import asyncio
import contextlib
import zlib

import pytest
import telnetlib3

from rhubarbe.errors import Unreachable
from rhubarbe.transports.telnet import open_session

IP = "127.0.0.1"


@contextlib.asynccontextmanager
async def node(shell, **options):
    """Serve a shell over telnet; yield the port."""
    server = await telnetlib3.create_server(
        IP, 0, shell=shell, connect_maxwait=0.2, encoding="utf8", **options
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)


async def gather(session):
    return "".join([piece async for piece in session.pieces()])


async def test_what_is_sent_and_said_passes(listening):
    heard = []

    async def shell(reader, writer):
        writer.write("/ # ")
        heard.append(await reader.readline())
        for piece in ("..", "..\r\n", "été\r\nRHUBARBE-STATUS=0\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.close()

    async with node(shell) as port, asyncio.timeout(10), open_session(IP, port, 2) as session:
        await session.send("frisbee; exit\n")
        said = await gather(session)
    assert heard == ["frisbee; exit\n"]
    assert said.endswith("....\r\nété\r\nRHUBARBE-STATUS=0\r\n")


@pytest.mark.parametrize("text", [b"", b"Joined the team", b"\xff\xfb", b"caf\xc3", b"." * 100_000])
async def test_a_session_that_is_cut_ends(listening, text):
    async def shell(reader, writer):
        await reader.readline()
        writer.write(text)
        await writer.drain()
        writer.transport.abort()

    async with listening(shell) as port, asyncio.timeout(30), open_session(IP, port, 20) as session:
        await session.send("frisbee\n")
        with contextlib.suppress(Unreachable):
            said = await gather(session)
            assert text.decode(errors="ignore").startswith(said.rstrip("\N{REPLACEMENT CHARACTER}"))


async def test_a_server_that_negotiates_nothing_is_talked_to(listening):
    async def shell(reader, writer):
        writer.write(b"/ # ")
        await reader.readuntil(b"exit\n")
        writer.write(b"bytes: \xff\xff\xfe\r\n")
        await writer.drain()

    async with listening(shell) as port, asyncio.timeout(5), open_session(IP, port, 1) as session:
        await session.send("exit\n")
        assert (await gather(session)).startswith("/ # bytes: ")


@pytest.mark.parametrize(
    "text", ["d\u00e9j\u00e0 vu", "\U0001f600" * 900, "\u043c\u043e\u0439", "caf\udce9"]
)
async def test_what_is_typed_is_utf_8_whatever_was_negotiated(listening, text):
    heard = []

    async def shell(reader, writer):
        heard.append(await reader.readuntil(b"\n"))

    async with listening(shell) as port, asyncio.timeout(5), open_session(IP, port, 1) as session:
        await session.send(f"{text}\n")
        await gather(session)
    assert heard[0].endswith(f"{text}\n".encode(errors="surrogateescape"))


async def test_where_nothing_listens_there_is_no_answer(free_port):
    with pytest.raises(Unreachable, match="no answer on telnet"):
        async with open_session(IP, free_port, 1):
            raise AssertionError("a session with nobody")


async def test_a_silent_server_is_a_session_that_opens_within_a_bound(listening):
    """A shell may be slow to speak; who converses with it sets the limit."""

    async def silent(reader, writer):
        await reader.read()

    async with (
        listening(silent) as port,
        asyncio.timeout(10),
        open_session(IP, port, 0.5) as session,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await gather(session)


class Watched:
    """A server that never speaks, and sees when its client goes."""

    def __init__(self):
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    async def serve(self, reader, writer):
        writer.write(b"\xff\xfd\x18\xff\xfd\x1f")  # asks for options, and never goes on
        await writer.drain()
        self.begun.set()
        with contextlib.suppress(OSError):
            while await reader.read(100):
                pass
        self.over.set()


async def cancelled_after(listening, pause):
    watched = Watched()

    async def converse(port):
        async with open_session(IP, port, 30) as session:
            await gather(session)

    async with listening(watched.serve) as port, asyncio.timeout(5):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(converse(port))
            await watched.begun.wait()
            await asyncio.sleep(pause)
            task.cancel()
        await watched.over.wait()
    return True


@pytest.mark.parametrize("pause", [0, 0.01, 0.04, 0.3, 0.7])
async def test_cancelled_at_any_moment_leaves_no_connection(listening, pause):
    assert await cancelled_after(listening, pause)


async def test_the_session_is_closed_on_the_way_out(listening):
    watched = Watched()
    async with listening(watched.serve) as port, asyncio.timeout(5):
        with pytest.raises(KeyError):
            async with open_session(IP, port, 1):
                raise KeyError
        await watched.over.wait()


async def test_sending_to_who_is_gone_does_not_hang(listening):
    async def gone(reader, writer):
        writer.transport.abort()

    async with listening(gone) as port, asyncio.timeout(5):
        with contextlib.suppress(Unreachable):
            async with open_session(IP, port, 1) as session:
                for _ in range(3):
                    await session.send("x" * 100)
                    await asyncio.sleep(0.01)
                assert await gather(session) == ""


IAC, SB, SE, WILL, DO, DONT, WONT = (bytes([code]) for code in (255, 250, 240, 251, 253, 254, 252))
MCCP2, MCCP3 = b"\x56", b"\x57"


@pytest.mark.parametrize("offer", [IAC + WILL + MCCP2, b"", IAC + DO + MCCP3])
async def test_nothing_is_decompressed(listening, offer):
    """Whether compression is offered first or just begins: a bomb stays as small as it was sent."""
    packer = zlib.compressobj(9)
    bomb = packer.compress(bytes(64 << 20)) + packer.flush()
    refusal = offer and IAC + (DONT if MCCP2 in offer else WONT) + offer[-1:]
    heard = b""

    async def shell(reader, writer):
        nonlocal heard
        writer.write(offer + IAC + SB + MCCP3 + IAC + SE + IAC + SB + MCCP2 + IAC + SE)
        writer.write(bomb.replace(IAC, b""))
        await writer.drain()
        while not (b"in plain words" in heard and refusal in heard):  # in whichever order
            heard += await reader.readuntil(b"in plain words" if refusal in heard else refusal)

    async with listening(shell) as port, asyncio.timeout(20), open_session(IP, port, 5) as session:
        await session.send("in plain words\n")
        said = sum([len(piece) async for piece in session.pieces()])
    assert 0 < said <= len(bomb)
    assert b"in plain words" in heard
    assert refusal in heard


FLOODS = {
    "commands": IAC + DO + b"\x18" + IAC + WILL + b"\x01",
    "options": IAC + SB + b"\x18\x01" + IAC + SE,
    "an option without end": b"A" * 100,
    "escaped bytes": IAC + IAC,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_server_that_floods_is_left(listening, flood):
    """The library would look at each byte, and keep everything else waiting meanwhile."""
    over = asyncio.Event()

    async def shell(reader, writer):
        writer.write(IAC + SB + b"\x18" if flood.startswith(b"A") else b"welcome\r\n")
        with contextlib.suppress(OSError):
            for _ in range(1000):
                writer.write(flood * (65536 // len(flood)))
                await writer.drain()
        over.set()

    async with listening(shell) as port, asyncio.timeout(20):
        with contextlib.suppress(Unreachable):
            async with open_session(IP, port, 5) as session:
                await gather(session)
        await over.wait()


@pytest.mark.parametrize("step", [1, 3, 4096])
async def test_letters_are_whole_however_they_come_and_whatever_was_negotiated(step):
    said = "été 日本 \U0001f9ea".encode() + b" caf\xc3"

    async def shell(reader, writer):
        with contextlib.suppress(OSError):
            await reader.readline()
            for at in range(0, len(said), step):
                writer.write(said[at : at + step])
                await writer.drain()
                await asyncio.sleep(0.001)
            writer.close()

    async with await asyncio.start_server(shell, IP, 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(10), open_session(IP, port, 2) as session:
            await session.send("cat\n")
            assert await gather(session) == "été 日本 \U0001f9ea caf\ufffd"
