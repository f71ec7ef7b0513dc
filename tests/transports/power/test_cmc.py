"""Power cards as they are: terse, slow, silent or broken; served by a real HTTP server."""

import asyncio
import contextlib
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from conformance import PowerConformance

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls.base import Switch
from rhubarbe.testbed.controls.cmc import CardServer
from rhubarbe.testbed.faults import Faults
from rhubarbe.transports.power.cmc import Cmc, CmcValues

IP = "127.0.0.1"
LIMIT = 0.6


def at(port, limit, ip=IP):
    """Return what talks to a card there."""
    return Cmc(CmcValues(address=ip, port=port), limit, NetworkingSettings())


@contextlib.asynccontextmanager
async def card(answer, limit=LIMIT):
    """Serve one card, which answers a text or by a coroutine; yield who asks, and what it hears."""
    heard = []

    async def handle(request):
        heard.append((request.method, request.path))
        if isinstance(answer, web.Response):
            return answer
        return await answer(request)

    application = web.Application()
    application.router.add_route("*", "/{verb}", handle)
    async with TestServer(application, host=IP, shutdown_timeout=0.1) as server:
        yield at(server.port, limit), heard


def text(body, status=200):
    return web.Response(body=body.encode(), status=status, headers={"Content-Type": "text/html"})


@pytest.mark.parametrize(
    ("body", "expected"), [("on", True), ("off\n", False), ("on\r\n", True), (" off ", False)]
)
async def test_status(body, expected):
    async with card(text(body)) as (control, heard):
        assert await control.is_on() is expected
        assert heard == [("GET", "/status")]


@pytest.mark.parametrize("verb", ["on", "off", "reset"])
async def test_verbs(verb):
    async with card(text("ok\n")) as (control, heard):
        await control.send(verb)
        assert heard == [("GET", f"/{verb}")]


@pytest.mark.parametrize(
    "body",
    ["", "On", "error: no connection", "off or on", "<html>on</html>", "ok", "on\0", "\u00e9"],
)
async def test_a_status_that_is_neither_on_nor_off_is_an_error(body):
    async with card(text(body)) as (control, _):
        with pytest.raises(CardError, match=r"answers status with .*, expected on or off"):
            await control.is_on()


@pytest.mark.parametrize("body", ["", "ko", "OK", "ok, but not on", "on"])
async def test_an_answer_that_is_not_ok_is_an_error(body):
    async with card(text(body)) as (control, _):
        with pytest.raises(CardError, match=r"answers reset with .*, expected ok"):
            await control.send("reset")


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_an_http_error_is_one_whatever_it_says(status):
    async with card(text("on", status)) as (control, _):
        with pytest.raises(CardError, match=f"answers status with HTTP status {status}"):
            await control.is_on()


async def test_a_redirection_is_not_followed():
    answer = web.Response(status=302, headers={"Location": "/on"})
    async with card(answer) as (control, heard):
        with pytest.raises(CardError, match="HTTP status 302"):
            await control.is_on()
        assert heard == [("GET", "/status")]


async def test_bytes_that_are_no_text_are_an_error():
    async with card(web.Response(body=b"\xff\xfeon")) as (control, _):
        with pytest.raises(CardError, match="expected on or off"):
            await control.is_on()


async def test_an_answer_may_come_in_pieces():
    async def slowly(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        for byte in (b"o", b"f", b"f", b"\n"):
            await answer.write(byte)
            await asyncio.sleep(0.02)
        return answer

    async with card(slowly) as (control, _):
        assert await control.is_on() is False


async def test_an_answer_that_drips_is_bounded():
    async def dripping(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(OSError):
            for _ in range(100):
                await answer.write(b" ")
                await asyncio.sleep(0.1)
        return answer

    async with card(dripping) as (control, _):
        async with asyncio.timeout(5):
            with pytest.raises(CardError, match=r"no answer in 0\.6 s to status"):
                await control.is_on()


async def test_megabytes_are_not_swallowed():
    sent = 0

    async def endless(request):
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                await answer.write(b"on\n" * 20000)
                sent += 60000
        return answer

    async with card(endless, limit=10) as (control, _):
        with pytest.raises(CardError, match="more than 65536 bytes"):
            await control.is_on()
    assert sent < 30_000_000


async def test_a_silent_card_is_bounded(listening):
    async def silent(reader, writer):
        await reader.read()

    async with listening(silent) as port, asyncio.timeout(5):
        with pytest.raises(CardError, match=r"no answer in 0\.2 s to status"):
            await at(port, 0.2).is_on()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "answers status with nothing"),
        (b"SSH-2.0-OpenSSH\r\n", "answers status with 'SSH-2.0-OpenSSH', expected on or off"),
        (b"HTTP/1.1 200 OK\r\nContent-L", "answers status with half a head"),
        (b"HTTP/1.1 999 \x1b[31mX\r\n\r\non", "answers status with HTTP status 999"),
        (b"HTTP/1.1 200 OK\r\n\r\non\nand\x1b[2J \x9b off\r\n", "answers status with 'on"),
    ],
)
async def test_what_is_no_answer_is_one_clean_line(listening, answer, words):
    async def strange(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(strange) as port, asyncio.timeout(5):
        says = await _refusal(at(port, 2).is_on())
    assert says.startswith(words)
    assert says.isprintable()


async def test_a_card_that_is_not_there_is_an_error(free_port):
    with pytest.raises(CardError, match="cannot be reached for reset: Connection refused"):
        await at(free_port, 2).send("reset")


async def test_one_silent_card_holds_no_other_back():
    async def handle(request):
        if request.query_string or request.headers["Host"].startswith("127.0.0.2"):
            await asyncio.sleep(30)
        return text("on")

    application = web.Application()
    application.router.add_get("/status", handle)
    async with TestServer(application, host="0.0.0.0", shutdown_timeout=0.1) as server:
        async with asyncio.TaskGroup() as group:
            silent = group.create_task(_refusal(at(server.port, 2.0, "127.0.0.2").is_on()))
            others = [
                group.create_task(at(server.port, 2.0, f"127.0.0.{n}").is_on())
                for n in range(3, 20)
            ]
            async with asyncio.timeout(1.8):
                assert all([await other for other in others])
            assert not silent.done()
        assert "no answer" in silent.result()


async def _refusal(asking):
    with pytest.raises(CardError) as caught:
        await asking
    return str(caught.value)


class Switched:
    """What a card of the testbed needs of a machine."""

    name = "fit01"
    faults = Faults()

    def __init__(self, machine):
        self._machine = machine

    @property
    def has_power(self):
        return self._machine.seen()

    def press(self, key):
        self._machine.press(str(key))


class TestConformance(PowerConformance):
    """As every kind, by the card that the testbed has."""

    def control(self, port, within):
        return at(port, within)

    @contextlib.asynccontextmanager
    async def serve(self, machine):
        with socket.socket() as holder:
            holder.bind((IP, 0))
            port = holder.getsockname()[1]
        switch = Switch(Names(1, 1), IP, Switched(machine), lambda words: None)
        async with CardServer([switch], port):
            yield port
