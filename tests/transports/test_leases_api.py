"""The reservation service: a small one of our own, and what is left of it on bad days."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rhubarbe.config import Settings
from rhubarbe.config import settings as declared
from rhubarbe.config.secrets import Secret
from rhubarbe.errors import LeaseError
from rhubarbe.leases.lease import LATEST, Lease
from rhubarbe.leases.remote import RemoteDesk
from rhubarbe.transports.leases_api import Reservations

IP = "127.0.0.1"
NAME = "testbed/one"
TOKEN = "let me in"
LIMIT = 2.0
NOW = 1_800_000_000.0


class Service:
    """What the service is when it is well; it notes what it is asked."""

    def __init__(self, granularity=600):
        self.leases = []
        self.heard = []
        self.granularity = granularity

    def add(self, begins, ends, slice_name="ada", resource=7, zone="+00:00"):
        self.leases.append(
            {
                "id": len(self.leases) + 1,
                "resource_id": resource,
                "slice_id": 3,
                "t_from": iso(begins).replace("+00:00", zone),
                "t_until": iso(ends).replace("+00:00", zone),
                "slice_name": slice_name,
            }
        )

    def application(self):
        application = web.Application(middlewares=[self.listen])
        application.router.add_get("/resources/by-name/{name}", self.resource)
        application.router.add_get("/leases", self.list)
        application.router.add_post("/leases", self.create)
        application.router.add_patch("/leases/{id}", self.change)
        application.router.add_delete("/leases/{id}", self.delete)
        application.router.add_post("/auth/login", self.login)
        return application

    @web.middleware
    async def listen(self, request, handler):
        self.heard.append(f"{request.method} {request.path}")
        free = request.method == "GET" or request.path == "/auth/login"
        if not free and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"detail": "who are you"}, status=401)
        return await handler(request)

    async def resource(self, request):
        if request.match_info["name"] != NAME:
            return web.json_response({"detail": "not found"}, status=404)
        return web.json_response({"id": 7, "name": NAME, "granularity": self.granularity})

    async def list(self, request):
        query = request.query
        found = [
            lease for lease in self.leases if str(lease["resource_id"]) == query["resource_id"]
        ]
        if "after" in query:
            found = [each for each in found if epoch(each["t_until"]) > epoch(query["after"])]
        if "before" in query:
            found = [each for each in found if epoch(each["t_from"]) < epoch(query["before"])]
        return web.json_response(found)

    async def create(self, request):
        body = await request.json()
        begins, ends = epoch(body["t_from"]), epoch(body["t_until"])
        if begins % self.granularity or ends % self.granularity or body["resource_name"] != NAME:
            return web.json_response({"detail": "bad"}, status=422)
        if any(begins < epoch(e["t_until"]) and epoch(e["t_from"]) < ends for e in self.leases):
            return web.json_response({"detail": "overlap"}, status=409)
        self.add(begins, ends, body["slice_name"])
        return web.json_response(self.leases[-1], status=201)

    async def change(self, request):
        lease = self.leases[int(request.match_info["id"]) - 1]
        lease |= await request.json()
        return web.json_response(lease)

    async def delete(self, request):
        del self.leases[int(request.match_info["id"]) - 1]
        return web.Response(status=204)

    async def login(self, request):
        if (await request.json()) != {"email": "ada@example.org", "password": "secret"}:
            return web.json_response({"detail": "no"}, status=401)
        return web.json_response({"access_token": TOKEN})


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def epoch(text):
    return datetime.fromisoformat(text).timestamp()


@contextlib.asynccontextmanager
async def serving(application):
    async with TestServer(application, host=IP, shutdown_timeout=0.1) as server:
        yield f"http://{IP}:{server.port}/"


@contextlib.asynccontextmanager
async def desk(service, email="", password="", **more):
    """Serve, and yield a desk that asks there."""
    async with serving(service.application()) as url:
        yield RemoteDesk(settings(url, **more), email, password)


def settings(url, token=TOKEN, limit=LIMIT, name=NAME):
    return Settings(
        leases=declared.LeasesSettings(backend="r2labapi", timeout=limit),
        r2labapi=declared.R2labapiSettings(url=url, resource_name=name, admin_token=Secret(token)),
    )


def answering(answer):
    """Answer everything in the same way."""

    async def handle(request):
        return await answer(request) if callable(answer) else answer

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    return application


async def refusal(url, limit=LIMIT):
    """Ask for the leases of now; return the one line that refuses, within bounds."""
    started = time.monotonic()
    with pytest.raises(LeaseError, match=r"\A[^\n]+\Z") as caught:
        await RemoteDesk(settings(url, limit=limit)).leases(NOW, NOW + 1)
    assert time.monotonic() - started < limit + 2
    assert str(caught.value).startswith(f"the reservation service at {url.rstrip('/')}: ")
    return str(caught.value)


async def test_the_leases_of_a_time():
    service = Service()
    service.add(NOW - 600, NOW, "early")
    service.add(NOW - 600, NOW + 600, "ada")
    service.add(NOW - 600, NOW + 600, "elsewhere", resource=8)
    service.add(NOW + 600, NOW + 1200, "bob", zone="Z")
    service.add(NOW + 1200, NOW + 1800, "late")
    async with desk(service) as asked:
        assert await asked.leases(NOW, NOW + 1200) == [
            Lease(NOW - 600, NOW + 600, "ada", "2"),
            Lease(NOW + 600, NOW + 1200, "bob", "4"),
        ]
        assert len(await asked.leases(0, LATEST)) == 4
    assert service.heard[:2] == ["GET /resources/by-name/testbed/one", "GET /leases"]


async def test_a_broken_lease_takes_none_of_the_others_with_it():
    service = Service()
    service.add(NOW, NOW + 600)
    good = service.leases[0]
    service.leases += [
        good | change
        for change in (
            {"t_from": None},
            {"t_from": "yesterday"},
            {"t_from": "2026-12-01T10:00"},
            {"t_until": "1999-12-31T00:00Z"},
            {"slice_name": None},
            {"t_until": 5},
        )
    ]
    for lease in (3, None, [], "x"):
        service.leases.append(lease)

    async def everything(request):
        return web.json_response(service.leases)

    service.list = everything
    async with desk(service) as asked:
        assert [lease.name for lease in await asked.leases(0, LATEST)] == ["1"]


async def test_book_in_units_of_the_resource():
    service = Service()
    async with desk(service) as asked:
        begins = time.time() // 600 * 600 + 6000
        lease = await asked.book(begins + 30, begins + 700, "ada")
        assert lease == Lease(begins, begins + 1200, "ada", "1")
        with pytest.raises(LeaseError, match="that time is not free: nothing was booked"):
            await asked.book(begins + 600, begins + 1800, "bob")
        with pytest.raises(LeaseError, match="cannot begin in the past"):
            await asked.book(time.time() - 3600, begins, "ada")
    assert len(service.leases) == 1


async def test_a_login_gives_the_token():
    service = Service()
    begins = time.time() // 600 * 600 + 6000
    async with desk(service, "ada@example.org", "secret", token="") as asked:
        assert (await asked.book(begins, begins + 600, "ada")).owner == "ada"
    async with desk(service, "ada@example.org", "wrong", token="") as asked:
        with pytest.raises(LeaseError, match="wants a valid login or token"):
            await asked.book(begins, begins + 600, "ada")
    async with desk(service, token="") as asked:
        with pytest.raises(LeaseError, match="give -e EMAIL"):
            await asked.book(begins, begins + 600, "ada")
    async with desk(service, token="wrong") as asked:
        with pytest.raises(LeaseError, match="wants a valid login or token"):
            await asked.book(begins, begins + 600, "ada")


async def test_reading_shows_no_token():
    seen = []

    async def look(request):
        seen.append(request.headers.get("Authorization"))
        return web.json_response([] if request.path == "/leases" else {"id": 7})

    async with serving(answering(look)) as url:
        await RemoteDesk(settings(url)).leases(NOW, NOW + 1)
    assert seen == [None, None]


async def test_given_back():
    service = Service()
    now = time.time()
    service.add(now - 1200, now - 600)
    service.add(now - 600, now + 600)
    service.add(now + 600, now + 1200)
    async with desk(service) as asked:
        with pytest.raises(LeaseError, match="over since"):
            await asked.give_back("1")
        with pytest.raises(LeaseError, match="no such lease"):
            await asked.give_back("4/../../x")
        assert await asked.give_back("2") == "lease 2 ends now"
        assert abs(epoch(service.leases[1]["t_until"]) - now) < 5
        assert await asked.give_back("3") == "lease 3 is deleted"
    assert len(service.leases) == 2


async def test_given_back_by_who_logs_in():
    service = Service()
    service.add(NOW + 600, NOW + 1200)
    async with desk(service, "ada@example.org", "secret", token="") as asked:
        assert await asked.give_back("1") == "lease 1 is deleted"
    async with desk(service, token="") as asked:
        with pytest.raises(LeaseError, match="give -e EMAIL"):
            await asked.give_back("1")
        assert await asked.leases(NOW, NOW + 600) == []


@pytest.mark.parametrize(("begins", "ends"), [(-600, 0), (0, 600)])
async def test_given_back_at_the_very_moment(monkeypatch, begins, ends):
    service = Service()
    service.add(NOW + begins, NOW + ends)
    monkeypatch.setattr(time, "time", lambda: NOW)
    async with desk(service) as asked:
        if ends == 0:
            with pytest.raises(LeaseError, match="1: over since"):
                await asked.give_back("1")
        else:
            assert await asked.give_back("1") == "lease 1 ends now"


async def test_no_more_is_asked_for_than_the_time_in_question():
    """A service has years of leases."""
    asked_for = []

    async def look(request):
        asked_for.append(dict(request.query))
        return web.json_response([] if request.path == "/leases" else {"id": 7})

    async with serving(answering(look)) as url:
        await RemoteDesk(settings(url)).leases(NOW, NOW + 0.5)
    query = asked_for[1]
    assert (epoch(query["after"]), epoch(query["before"])) == (NOW, NOW + 1)


async def test_a_resource_that_is_not_there():
    async with serving(Service().application()) as url:
        with pytest.raises(LeaseError, match="HTTP status 404"):
            await RemoteDesk(settings(url, name="other")).leases(NOW, NOW + 1)


def test_what_must_be_configured():
    with pytest.raises(LeaseError, match=r"\A\[r2labapi\] needs url and resource_name where"):
        RemoteDesk(settings(""))


async def test_who_says_nothing_of_themselves_is_nobody():
    told = []

    async def look(request):
        told.append(await request.json())
        return web.json_response({}, status=401)

    async with serving(answering(look)) as url:
        with pytest.raises(LeaseError, match="give -e EMAIL"):
            await RemoteDesk(settings(url, token="")).give_back("1")
        with pytest.raises(LeaseError, match="wants a valid login"):
            await RemoteDesk(settings(url, token=""), "ada@example.org").give_back("1")
    assert told == [{"email": "ada@example.org", "password": ""}]


@pytest.mark.parametrize("status", [500, 503, 404, 302, 199 + 400])
async def test_an_http_error(status):
    headers = {"Location": "/elsewhere"}
    async with serving(
        answering(web.Response(status=status, text="<h1>Oops\x1b[2J</h1>\n", headers=headers))
    ) as url:
        said = await refusal(url)
    assert f"HTTP status {status}" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"null", b"3", b'"x"', b"[]", b"{}",
     b'{"id": null', b'{"id": 7, "granularity": "many"}', b'{"id": 7, "granularity": [1]}'],
)  # fmt: skip
async def test_garbage(body):
    async with serving(answering(web.Response(body=body))) as url:
        assert "describes" in (said := await refusal(url)) or "no JSON" in said


@pytest.mark.parametrize("body", [{"detail": "x"}, None, 3, "x" * 1000])
async def test_no_list_of_leases(body):
    async def answer(request):
        return web.json_response(body if request.path == "/leases" else {"id": 7})

    async with serving(answering(answer)) as url:
        said = await refusal(url)
    assert "instead of a list of leases" in said
    assert len(said) < 250


async def test_megabytes_are_not_swallowed():
    sent = 0

    async def endless(request):
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                await answer.write(b" " * 100_000)
                sent += 100_000
        return answer

    async with serving(answering(endless)) as url:
        assert "more than 4 MiB" in await refusal(url, limit=10)
    assert sent < 50_000_000


async def test_an_answer_that_drips_is_bounded():
    async def dripping(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(OSError):
            for _ in range(100):
                await answer.write(b" ")
                await asyncio.sleep(0.1)
        return answer

    async with serving(answering(dripping)) as url:
        assert "no answer in 0.5 s" in await refusal(url, limit=0.5)


async def test_both_requests_together_are_bounded():
    async def slow(request):
        await asyncio.sleep(0.6)
        return web.json_response({"id": 7})

    async with serving(answering(slow)) as url:
        assert "no answer in 1 s" in await refusal(url, limit=1.0)


async def test_silence_is_bounded(listening):
    async def silent(reader, writer):
        await reader.read()

    async with listening(silent) as port:
        assert "no answer in 0.3 s" in await refusal(f"http://{IP}:{port}", limit=0.3)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-L"])
async def test_what_speaks_no_http(listening, answer):
    async def strange(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(strange) as port:
        assert "cannot be reached" in await refusal(f"http://{IP}:{port}")


async def test_nobody_there(free_port):
    assert "cannot be reached" in await refusal(f"http://{IP}:{free_port}")
    assert "cannot be reached" in await refusal(f"https://{IP}:{free_port}")


async def test_plain_http_where_tls_is_expected():
    async with serving(Service().application()) as url:
        assert "cannot be reached" in await refusal(url.replace("http:", "https:"))


async def test_a_name_that_is_looked_for_in_vain_holds_nobody_up(monkeypatch):
    forgotten = threading.Event()

    def look_up(*_, **__):
        forgotten.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer from the name server")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert "no answer in 0.3 s" in await refusal("http://reservations.example.org", limit=0.3)
    # Nothing that the end of the loop would wait for.
    async with asyncio.timeout(2):
        await asyncio.get_running_loop().shutdown_default_executor()
    forgotten.set()


async def test_a_name_that_is_none(monkeypatch):
    def look_up(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert "Name or service not known" in await refusal("http://reservations.example.org")


async def test_a_name_is_found():
    async with serving(Service().application()) as url:
        assert await RemoteDesk(settings(url.replace(IP, "localhost"))).leases(NOW, NOW + 1) == []


async def test_the_service_is_entered_before_it_is_asked():
    with pytest.raises(RuntimeError, match="entered"):
        await Reservations("http://127.0.0.1", NAME, "", 1.0).resource()


async def test_a_login_without_a_token():
    async with (
        serving(answering(web.Response(body=json.dumps({"token": 3}).encode()))) as url,
        Reservations(url, NAME, "", LIMIT) as service,
    ):
        with pytest.raises(LeaseError, match="a login without a token"):
            await service.log_in("ada@example.org", "secret")
