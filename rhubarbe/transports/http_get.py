"""One GET of a short text, read as curl would: embedded servers speak HTTP by their own rules.

Libraries for asyncio refuse what such servers say: names with blanks, a length twice or with
chunks, no header at all, an encoding that is none. Here, only what tells where the text ends is
looked at; the end of the connection tells it too. Nothing is decoded, no redirect is followed.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

# Head and text together; far more than such a server has to say.
LONGEST_ANSWER = 65536
PIECE = 16384

_STATUS_LINE = re.compile(rb"HTTP/[0-9.]*[ \t]+([0-9]{3})(?![0-9])", re.IGNORECASE)
_BEGINS = b"HTTP/"
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,8})(?![0-9a-fA-F])")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class HttpError(Exception):
    """An answer that cannot be read; the words go on from `answers`."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The status, 200 where the server speaks HTTP/0.9 and tells none; and the text, as bytes."""

    status: int
    body: bytes


async def get(ip: str, port: int, path: str) -> HttpAnswer:
    """Ask for `path`; raises OSError, and HttpError. How long it may take is the caller's."""
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        await loop.sock_connect(connection, (ip, port))
        with contextlib.suppress(ConnectionError):  # it may have answered and closed already
            await loop.sock_sendall(connection, _request(ip, port, path))
        received = b""
        while True:
            try:
                piece = await loop.sock_recv(connection, PIECE)
            except ConnectionError:  # how some servers hang up
                if not received:
                    raise
                piece = b""
            received += piece
            if (answer := parse(received, ended=not piece)) is not None:
                return answer
            if len(received) > LONGEST_ANSWER:
                raise HttpError(f"with more than {LONGEST_ANSWER} bytes")


def _request(ip: str, port: int, path: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {ip}:{port}",
        "User-Agent: rhubarbe",
        "Accept: */*",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse(received: bytes, *, ended: bool) -> HttpAnswer | None:
    """Read what was received, None if more is to come; raises HttpError.

    `ended` says that the server hung up.
    """
    rest = received.lstrip(b"\r\n")
    while (start := _STATUS_LINE.match(rest)) is not None:
        end = _END_OF_HEAD.search(rest)
        if end is None:
            break
        head, rest, status = rest[: end.start()], rest[end.end() :], int(start[1])
        if status >= HTTPStatus.OK:
            return _whole(status, head.split(b"\n")[1:], rest, ended=ended)
    if not ended:
        return None
    if not rest:
        raise HttpError("with nothing")
    if start is not None or _BEGINS.startswith(rest.upper()):
        raise HttpError("with half a head")
    return HttpAnswer(HTTPStatus.OK, rest)


def _whole(status: int, lines: Iterable[bytes], rest: bytes, *, ended: bool) -> HttpAnswer | None:
    """Return the answer once its text is whole; a server that hangs up has said all of it."""
    body: bytes | None
    if status in _BODILESS:
        body = b""
    elif any(b"chunked" in coding.lower() for coding in _values(lines, b"transfer-encoding")):
        body = _joined(rest, ended=ended)
    else:
        length = _length(_values(lines, b"content-length"))
        complete = ended or (length is not None and len(rest) >= length)
        body = rest[:length] if complete else None
    return None if body is None else HttpAnswer(status, body)


def _values(lines: Iterable[bytes], name: bytes) -> list[bytes]:
    """Return the values of a header, whatever else the lines are."""
    pairs = (line.partition(b":") for line in lines)
    return [value.strip() for key, _, value in pairs if key.strip().lower() == name]


def _length(values: Iterable[bytes]) -> int | None:
    """Return the length that is told, however often; None if there is none, or more than one."""
    told = {int(value) if _LENGTH.fullmatch(value) else None for value in values}
    return told.pop() if len(told) == 1 else None


def _joined(rest: bytes, *, ended: bool) -> bytes | None:
    """Join chunks, None if more are to come; raises HttpError."""
    pieces: list[bytes] = []
    at = 0
    # By position, without copying the rest: a card may send chunks of one byte each.
    while (end := rest.find(b"\n", at)) >= 0:
        size = _CHUNK_SIZE.match(rest, at, end)
        if size is None:
            raise HttpError("in chunks that are none")
        if (number := int(size[1], 16)) == 0:
            return b"".join(pieces)
        at = end + 1
        if len(rest) < at + number and not ended:
            return None
        pieces.append(rest[at : at + number])
        at += number
        for each in (b"\r", b"\n"):
            at += rest.startswith(each, at)
    return b"".join(pieces) if ended else None
