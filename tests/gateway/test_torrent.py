"""Torrents and their tracker, read by a decoder of the tests' own."""

import asyncio
import contextlib
import hashlib
import re
import threading
from urllib.parse import quote

import pytest

from rhubarbe.gateway.engines.peers import MOST, MOST_OF_AN_ADDRESS, TOLD
from rhubarbe.gateway.engines.torrent import PIECE, Torrent, bencode, make_torrent
from rhubarbe.gateway.engines.tracker import MOST_CONNECTIONS, Tracker, track

HASH = bytes(range(200, 220))
HOME = "10.0.0.1"
TORRENT = Torrent(b"the torrent", HASH)


def bdecode(data):
    """Decode all of `data`."""
    value, rest = _decode(data)
    assert rest == b""
    return value


def _decode(data):
    if data[:1] == b"i":
        number, _, rest = data[1:].partition(b"e")
        return int(number), rest
    if data[:1] in (b"l", b"d"):
        items, rest = [], data[1:]
        while rest[:1] != b"e":
            item, rest = _decode(rest)
            items.append(item)
        rest = rest[1:]
        return (items if data[:1] == b"l" else dict(zip(*[iter(items)] * 2, strict=True))), rest
    length, _, rest = data.partition(b":")
    return rest[: int(length)], rest[int(length) :]


def test_the_encoding_is_that_of_the_specification():
    assert bencode(-3) == b"i-3e"
    assert bencode(b"spam") == b"4:spam"
    assert bencode([b"spam", 7]) == b"l4:spami7ee"
    assert bencode({b"spam": [b"a", b"b"], b"cow": b"moo"}) == b"d3:cow3:moo4:spaml1:a1:bee"


@pytest.mark.parametrize("size", [PIECE, 2 * PIECE, 2 * PIECE + 5])
def test_a_torrent_has_the_hash_of_each_piece(tmp_path, size):
    content = b"".join(bytes([n % 251]) * 1000 for n in range(size // 1000 + 1))[:size]
    (tmp_path / "an image.ndz").write_bytes(content)
    url = "http://10.0.0.1:7/announce"
    torrent = make_torrent(tmp_path / "an image.ndz", "image.ndz", url, threading.Event())
    decoded = bdecode(torrent.content)
    assert decoded[b"announce"] == url.encode()
    info = decoded[b"info"]
    assert (info[b"name"], info[b"length"], info[b"private"]) == (b"image.ndz", size, 1)
    pieces = [content[at : at + PIECE] for at in range(0, size, PIECE)]
    assert info[b"pieces"] == b"".join(hashlib.sha1(piece).digest() for piece in pieces)
    raw = torrent.content[torrent.content.index(b"4:info") + 6 : -1]
    assert torrent.info_hash == hashlib.sha1(raw).digest()


def test_a_torrent_that_nobody_wants_any_more_is_not_finished(tmp_path):
    (tmp_path / "image").write_bytes(bytes(PIECE))
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedError):
        make_torrent(tmp_path / "image", "image.ndz", "http://10.0.0.1/announce", stop)


def announce(tracker, peer, ip, port=6881, *, left=5, event="", info_hash=HASH):
    """Ask as a peer does; return what is answered."""
    names = (
        f"info_hash={quote(info_hash)}&peer_id={peer:-<20}&port={port}&left={left}&event={event}"
    )
    answer = tracker.answer(f"/announce?{names}", ip)
    assert answer.status.startswith("200")
    return bdecode(answer.body)


async def test_peers_are_told_of_each_other():
    tracker = Tracker(HOME)
    tracker.torrent = TORRENT
    assert announce(tracker, "first", "10.0.0.1", 6881, left=0)[b"peers"] == b""
    assert announce(tracker, "second", "10.0.0.2", 258)[b"peers"] == b"\x0a\x00\x00\x01\x1a\xe1"
    assert announce(tracker, "first", "10.0.0.1", 6881)[b"peers"] == b"\x0a\x00\x00\x02\x01\x02"
    announce(tracker, "first", "10.0.0.1", event="stopped")
    assert announce(tracker, "second", "10.0.0.2")[b"peers"] == b""


async def test_only_who_has_all_of_it_is_a_seeder():
    tracker = Tracker(HOME)
    tracker.torrent = TORRENT
    announce(tracker, "first", "10.0.0.1", left=1)
    assert not tracker.seeded.is_set()
    announce(tracker, "stranger", "10.0.0.9", left=0)
    assert not tracker.seeded.is_set()
    announce(tracker, "second", "10.0.0.1", left=0)
    assert tracker.seeded.is_set()


async def test_what_is_not_ours_is_not_tracked():
    tracker = Tracker(HOME)
    assert tracker.answer("/image.torrent", "10.0.0.1").status.startswith("404")
    tracker.torrent = TORRENT
    assert tracker.answer("/image.torrent", "10.0.0.1").body == b"the torrent"
    assert tracker.answer("/etc/passwd", "10.0.0.1").status.startswith("404")
    assert b"failure reason" in announce(tracker, "peer", "10.0.0.1", info_hash=bytes(20))
    for port in ("0", "65536", "-1", "x", ""):
        assert b"failure reason" in announce(tracker, "peer", "10.0.0.1", port)
    assert announce(tracker, "other", "10.0.0.2")[b"peers"] == b""


def places_told(tracker, peer, ip):
    told = announce(tracker, peer, ip)[b"peers"]
    return [told[at : at + 6] for at in range(0, len(told), 6)]


SEEDER = bytes([10, 0, 0, 1, 0x1A, 0xE1])


def address(number):
    return f"10.{1 + number // 250}.0.{number % 250 + 1}"


async def test_the_seeder_is_told_of_however_many_others_there_are():
    tracker = Tracker(HOME)
    tracker.torrent = TORRENT
    announce(tracker, "seeder", HOME, left=0)
    for number in range(MOST + 100):
        announce(tracker, f"p{number}", address(number), left=0)
    assert len(tracker._peers) == MOST + 1
    for number in range(5):
        told = places_told(tracker, "last", f"10.200.0.{number}")
        assert (told[0], len(told)) == (SEEDER, TOLD)


async def test_one_address_with_many_peers_puts_nobody_else_out():
    tracker = Tracker(HOME)
    tracker.torrent = TORRENT
    announce(tracker, "seeder", HOME, left=0)
    announce(tracker, "node", "10.0.0.2")
    for number in range(2 * MOST):
        announce(tracker, f"p{number}", "10.0.0.66")
    assert len(tracker._peers) == MOST_OF_AN_ADDRESS + 2
    told = places_told(tracker, "last", "10.0.0.3")
    assert SEEDER in told
    assert bytes([10, 0, 0, 2, 0x1A, 0xE1]) in told


async def test_nobody_stops_or_moves_the_seeder_but_itself():
    tracker = Tracker(HOME)
    tracker.torrent = TORRENT
    announce(tracker, "seeder", HOME, left=0)
    announce(tracker, "seeder", "10.0.0.66", event="stopped")
    announce(tracker, "seeder", "10.0.0.66", 1)
    assert SEEDER in places_told(tracker, "node", "10.0.0.2")


@pytest.mark.parametrize("peer", ["", "short", "x" * 21, "x" * 4000])
async def test_a_peer_has_a_name_of_twenty_bytes(peer):
    tracker = Tracker(HOME)
    tracker.torrent = TORRENT
    query = f"/announce?info_hash={quote(HASH)}&peer_id={peer}&port=1&left=0"
    assert b"failure reason" in bdecode(tracker.answer(query, "10.0.0.2").body)
    assert len(tracker._peers) == 0


async def asked(port, request):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_it_speaks_http():
    async with track("127.0.0.1") as (tracker, port):
        tracker.torrent = TORRENT
        head, _, body = (await asked(port, b"GET /image.torrent HTTP/1.1\r\n\r\n")).partition(
            b"\r\n\r\n"
        )
        assert body == TORRENT.content
        assert re.match(rb"HTTP/1.1 200 OK\r\n", head)
        assert b"Content-Length: 11" in head
        assert b" 400 " in await asked(port, b"PUT / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("words", [b"nonsense\r\n\r\n", b"x" * 100000, b"\xff\xfe \r\n\r\n"])
async def test_what_is_not_http_gets_no_answer_and_does_no_harm(words):
    async with track("127.0.0.1") as (tracker, port):
        tracker.torrent = TORRENT
        with contextlib.suppress(ConnectionError):
            assert await asked(port, words) == b""
        assert TORRENT.content in await asked(port, b"GET /image.torrent HTTP/1.1\r\n\r\n")


async def test_connections_that_say_nothing_keep_nobody_from_asking():
    async with track("127.0.0.1") as (tracker, port), asyncio.timeout(20):
        tracker.torrent = TORRENT
        held = []
        try:
            for number in range(MOST_CONNECTIONS):
                at = (f"127.0.8.{number % 8 + 1}", 0)
                held.append(await asyncio.open_connection("127.0.0.1", port, local_addr=at))
            assert tracker._asking.total() <= 8 * 4 + 1
            assert TORRENT.content in await asked(port, b"GET /image.torrent HTTP/1.1\r\n\r\n")
        finally:
            for _, writer in held:
                writer.close()
