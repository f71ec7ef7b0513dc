"""A TFTP server is asked as a node's firmware does, whatever it answers; and curl has the same."""

import asyncio
import contextlib
import socket
import struct

import pytest

from rhubarbe.gateway.checks.tftp import Server, TftpError

FILE = bytes(range(256)) * 5  # two whole blocks, and a half


class Scripted(asyncio.DatagramProtocol):
    """Answers each packet as `answer` says: with packets, each from our port or another."""

    def __init__(self, answer):
        self._answer = answer
        self.heard = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.heard.append(data)
        for packet in self._answer(data, len(self.heard)):
            self.transport.sendto(packet, addr)


@contextlib.asynccontextmanager
async def serving(answer, within_s=3.0):
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: Scripted(answer), local_addr=("127.0.0.1", 0)
    )
    try:
        server.asks = Server("127.0.0.1", transport.get_extra_info("sockname")[1], within_s)
        yield server
    finally:
        transport.close()


def block(number):
    return struct.pack("!HH", 3, number) + FILE[512 * (number - 1) : 512 * number]


def honest(data, _):
    kind, number = struct.unpack_from("!HH", data)
    if kind == 1:
        yield block(1)
    elif kind == 4:
        yield block(number + 1)


async def test_a_file_is_read_to_its_end():
    async with serving(honest) as server:
        assert await server.asks.read("a/b", 1 << 16) == FILE
        assert server.heard[0] == b"\0\1a/b\0octet\0"


async def test_of_a_large_file_the_beginning_is_enough():
    async with serving(honest) as server:
        assert await server.asks.read("kernel", 512) == FILE[:512]
        assert len(server.heard) == 1 or server.heard[1][:2] == b"\0\5"


async def test_what_is_lost_is_asked_for_again():
    async with serving(lambda data, rank: honest(data, rank) if rank % 2 == 0 else ()) as server:
        assert await server.asks.read("x", 512) == FILE[:512]


async def test_rubbish_and_other_blocks_are_passed_over():
    def answer(data, rank):
        yield b""
        yield b"\0"
        yield struct.pack("!HH", 3, 77) + b"not this one"
        yield b"\xff" * 600
        yield from honest(data, rank)
        yield from honest(data, rank)

    async with serving(answer) as server:
        assert await server.asks.read("x", 1 << 16) == FILE


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (1, b"File not found", "File not found"),
        (2, b"Access \x1b[31mviolation", "Access violation"),
        (0, b"", "error 0"),
        (0, b"x" * 60_000, "x" * 199 + "\u2026"),
    ],
)
async def test_a_refusal_is_told_in_the_server_s_words(code, words, said):
    async with serving(lambda *_: [struct.pack("!HH", 5, code) + words + b"\0"]) as server:
        with pytest.raises(TftpError) as told:
            await server.asks.read("x", 512)
        assert (told.value.code, str(told.value)) == (code, said)


async def test_silence_ends():
    async with serving(lambda *_: (), within_s=0.2) as server:
        with pytest.raises(TftpError, match=r"no answer in 0\.2 s"):
            await server.asks.read("x", 512)


async def test_a_flood_ends_too():
    async with serving(lambda *_: [b"\xff" * 8] * 200, within_s=0.3) as server:
        with pytest.raises(TftpError, match="no answer"):
            await server.asks.read("x", 512)


async def test_a_port_on_which_nobody_is_told_at_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(TftpError, match="Connection refused"):
        await Server("127.0.0.1", port, 5.0).read("x", 512)
