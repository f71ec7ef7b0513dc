"""What embedded servers say instead of HTTP, read as curl reads it; and what nobody can read."""

import asyncio
import contextlib
import shutil

import pytest

from rhubarbe.transports.http_get import LONGEST_ANSWER, HttpAnswer, HttpError, get, parse

IP = "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\n"
CLOSE = b"Connection: close\r\n"

READ = {
    "as it should be": OK + b"Content-Length: 3\r\n\r\non\n",
    "no length": OK + CLOSE + b"\r\non\n",
    "older": b"HTTP/1.0 200 OK\r\n\r\non\n",
    "oldest": b"on\n",
    "one letter": b"H\non\n",
    "small letters": b"http/1.0 200 ok\r\ncontent-length: 3\r\n\r\non\n",
    "no reason": b"HTTP/1.1 200\r\n\r\non\n",
    "a reason in Latin-1": b"HTTP/1.1 200 Tr\xe8s bien\r\n\r\non\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Type: text/html\n\non\n",
    "a mixture": b"HTTP/1.1 200 OK\r\nServer: x\n\r\non\n",
    "a blank in a name": OK + b"Content Type: text/html\r\n\r\non\n",
    "a blank before the colon": OK + b"Content-Length : 3\r\n\r\non\n",
    "a name in Latin-1": OK + b"Caf\xe9: \xff\xfe\r\n\r\non\n",
    "a folded line": OK + b"Server: card\r\n version 1\r\n\r\non\n",
    "the length twice": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\non\n",
    "a length that is too long": OK + b"Content-Length: 10\r\n\r\non\n",
    "a length beyond all numbers": OK + b"Content-Length: 100000000000000000000\r\n\r\non\n",
    "a length with a sign": OK + b"Content-Length: +3\r\n\r\non\n",
    "a length and chunks": OK
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\non\n\r\n0\r\n\r\n",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n2;x=y\r\nn\n\r\n0\r\n\r\n",
    "chunks without an end": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\non\n\r\n",
    "chunks cut off": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\non\n",
    "chunks by line feeds": OK + b"Transfer-Encoding: Chunked\r\n\r\n3\non\n\n0\n\n",
    "an encoding that is none": OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\non\n",
    "an unknown charset": OK + b"Content-Type: text/html; charset=klingon\r\n\r\non\n",
    "go on, first": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 3\r\n\r\non\n",
    "a cookie that is none": OK + b"Set-Cookie: a b=c d; path==;\r\n\r\non\n",
    "a long line": OK + b"X-Filler: " + b"x" * 20000 + b"\r\n\r\non\n",
}
# curl wants these to be better.
READ_HERE_ONLY = {
    "no colon": OK + b"Server card\r\n\r\non\n",
    "nothing before the colon": OK + b": card\r\n\r\non\n",
    "a NUL in a line": OK + b"Server: x\0y\r\n\r\non\n",
    "empty lines first": b"\r\n\r\n" + OK + b"Content-Length: 3\r\n\r\non\n",
    "another version": b"HTTP/1.2 200 OK\r\nContent-Length: 3\r\n\r\non\n",
    "no version": b"HTTP/ 200 OK\r\n\r\non\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 7\r\n\r\non\n",
    "a length that is no number": OK + b"Content-Length: many\r\n\r\non\n",
    "a negative length": OK + b"Content-Length: -1\r\n\r\non\n",
}
UNREADABLE = {
    "nothing": (b"", "with nothing"),
    "empty lines": (b"\r\n\r\n", "with nothing"),
    "half a word": (b"HTT", "with half a head"),
    "half a head": (OK + b"Content-L", "with half a head"),
    "only go on": (b"HTTP/1.1 100 Continue\r\n\r\n", "with nothing"),
    "no chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\non\r\n",
        "in chunks that are none",
    ),
    "negative chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\non\r\n0\r\n\r\n",
        "in chunks that are none",
    ),
}


@pytest.fixture
def saying(listening):
    """Serve one answer, whatever is asked; then hang up."""

    def say(answer):
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()  # while the test's own way of closing is a reset
            await writer.wait_closed()

        return listening(serve)

    return say


def body(answer):
    return answer.body.rstrip(b"\n")


@pytest.mark.parametrize("name", READ | READ_HERE_ONLY)
async def test_it_is_read(saying, name):
    said = (READ | READ_HERE_ONLY)[name]
    async with saying(said) as port, asyncio.timeout(10):
        answer = await get(IP, port, "/status")
    assert answer.status == 200
    assert body(answer) in (b"on", b"H\non")


@pytest.mark.skipif(shutil.which("curl") is None, reason="without curl")
@pytest.mark.parametrize("name", READ)
async def test_curl_reads_the_same(saying, name):
    async with saying(READ[name]) as port, asyncio.timeout(20):
        answer = await get(IP, port, "/status")
        curl = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--http0.9", "--max-time", "10", f"http://{IP}:{port}/status"),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await curl.communicate()
    assert output == answer.body


@pytest.mark.parametrize("name", READ)
async def test_it_is_read_in_whatever_pieces_it_comes(name):
    """What is whole does not wait for the end of the connection, and nothing is taken too early."""
    said = READ[name]
    whole = parse(said, ended=True)
    for size in range(len(said) if len(said) < 1000 else 0):
        early = parse(said[:size], ended=False)
        assert early is None or body(early) == body(whole)


@pytest.mark.parametrize("name", ["as it should be", "chunks", "a length and chunks"])
async def test_who_says_where_it_ends_need_not_hang_up(name):
    assert parse(READ[name], ended=False) == HttpAnswer(200, b"on\n")


@pytest.mark.parametrize(("said", "words"), UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_it_is_refused(saying, said, words):
    async with saying(said) as port, asyncio.timeout(10):
        with pytest.raises(HttpError, match=words):
            await get(IP, port, "/status")


async def test_nothing_is_unpacked():
    """A bomb stays as small as it was sent."""
    said = OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    assert parse(said, ended=True) == HttpAnswer(200, b"\x1f\x8b\x08\x00")


@pytest.mark.parametrize("status", [204, 304])
async def test_what_has_no_text_is_not_waited_for(status):
    assert parse(b"HTTP/1.1 %d x\r\n\r\n" % status, ended=False) == HttpAnswer(status, b"")


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"x" * 1000),
        (b"", b"\r\n" * 100),
        (OK, b"X: y\r\n" * 100),
        (OK + b"\r\n", b"\0" * 1000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 100),
    ],
)
async def test_an_answer_without_end_is_cut(listening, first, piece):
    async def flood(reader, writer):
        writer.write(first)
        with contextlib.suppress(OSError):
            while True:
                writer.write(piece)
                await writer.drain()

    async with listening(flood) as port, asyncio.timeout(20):
        with pytest.raises(HttpError, match=f"with more than {LONGEST_ANSWER} bytes"):
            await get(IP, port, "/status")


async def test_who_answers_before_the_question_and_hangs_up_by_a_reset_is_read(listening):
    async def hasty(reader, writer):
        writer.write(b"HTTP/1.0 200 OK\r\n\r\non\n")
        await writer.drain()  # and then a reset: the question is never read

    async with listening(hasty) as port, asyncio.timeout(10):
        for _ in range(5):
            assert await get(IP, port, "/status") == HttpAnswer(200, b"on\n")


async def test_the_question_is_one_that_all_understand(listening):
    heard = []

    async def serve(reader, writer):
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(READ["as it should be"])
        await writer.drain()

    async with listening(serve) as port, asyncio.timeout(10):
        await get(IP, port, "/status")
    line, *headers = heard[0].decode().split("\r\n")
    assert line == "GET /status HTTP/1.1"
    assert {f"Host: {IP}:{port}", "Connection: close"} <= set(headers)
    assert not any(header.lower().startswith("accept-encoding") for header in headers)
