"""Requests to a Redfish service, and its answers, within bounds.

Of a link in an answer only the path counts, so that nothing said there leads to another host.
"""

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from rhubarbe.errors import CardError, CardRefused
from rhubarbe.shared.documents import parse
from rhubarbe.text import HIDDEN
from rhubarbe.transports.redfish.values import inside

LARGEST = 1 << 20
DEEPEST = 40
MOST_REDIRECTIONS = 3
MOST_MESSAGES = 3
ASK_AGAIN_S = 0.5
GZIP = 47  # for zlib: with the header of either
NOT_NOW = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
REDIRECTIONS = (301, 302, 307, 308)
PRECONDITIONS = (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.PRECONDITION_REQUIRED)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answers: the status, the object (empty where there is none), and headers."""

    status: int
    said: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def is_good(self) -> bool:
        """Whether it was done, or will be."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def header(self, name: str) -> str:
        """Return a header that may be sent back; empty where that would not be one, or is none.

        A client refuses to send what has control characters in it.
        """
        value = self.headers.get(name, "")
        return value if value.isprintable() else ""

    @property
    def words(self) -> str:
        """What is wrong, with what the service says about it."""
        messages = inside(self.said, "error", "@Message.ExtendedInfo")
        several = messages if isinstance(messages, list) else [messages]
        texts = [inside(each, "Message") for each in several[:MOST_MESSAGES]]
        said = [text for text in texts if isinstance(text, str)]
        more = inside(self.said, "error", "message")
        text = " ".join(dict.fromkeys(said)) or (more if isinstance(more, str) else "")
        return f"HTTP status {self.status}" + (f": {text}" if text else "")


class Talk:
    """Requests to a service, in the name of a user, up to the end of the connection."""

    def __init__(self, http: aiohttp.ClientSession, base: URL, host: str, verb: str) -> None:
        self._http = http
        self._base = base
        self._host = host or None
        self._verb = verb
        self._has_answers = False
        self.credentials: dict[str, str] = {}
        self.repeats = True
        """Whether a request may come twice."""

        self.not_now = ""
        """What it last answered instead of an answer, while we ask again."""

    async def get(self, path: str) -> Answer:
        """Return an object; raises CardError where there is none."""
        answer = self.required(await self.ask("GET", path))
        if not answer.said:
            raise CardError(f"answers {self._verb} with no object at {path}")
        return answer

    def required(self, answer: Answer) -> Answer:
        """Return an answer that is good; raises CardError."""
        if answer.is_good:
            return answer
        words = answer.words
        for secret in self.credentials.values():  # which a service may repeat
            words = words.replace(secret, HIDDEN)
        if answer.status in REFUSALS:
            raise CardRefused(f"refuses {self._verb} to this user and password: {words}")
        raise CardError(f"answers {self._verb} with {words}")

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        waits: bool = True,
    ) -> Answer:
        """Return what it answers, whatever that is; while it is not ready, ask again (`waits`)."""
        while True:
            answer = await self._redirected(method, path, body, headers or {})
            if not waits or answer.status not in NOT_NOW:
                return answer
            self.not_now = answer.words
            await asyncio.sleep(ASK_AGAIN_S)

    async def patch(self, path: str, body: object) -> None:
        """Change an object; raises CardError.

        Some services want to be told which state of it is meant, and each in another writing.
        """
        found = await self.get(path)
        told = found.header("ETag") or found.said.get("@odata.etag")
        tag = told if isinstance(told, str) and told.isprintable() else ""
        bare = tag.removeprefix("W/")
        answer = found
        for each in dict.fromkeys([tag, bare, f'"{bare.strip(chr(34))}"' if bare else "", ""]):
            headers = {"If-Match": each} if each else {}
            answer = await self.ask("PATCH", path, body, headers=headers)
            if answer.status not in PRECONDITIONS:
                break
        self.required(answer)

    async def _redirected(
        self, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> Answer:
        for _ in range(1 + MOST_REDIRECTIONS):
            try:
                url = self._base.join(URL(path))
                place = self._base.with_path(url.raw_path, encoded=True).with_query(url.query)
            except ValueError as error:
                raise CardError(f"answers {self._verb} with a link that is none") from error
            response = await self._sent(method, place, body, self.credentials | dict(headers))
            async with response:
                if response.status not in REDIRECTIONS:
                    return await self._read(response)
                path = response.headers.get("Location", "")
        raise CardError(f"answers {self._verb} by sending us from one place to another")

    async def _sent(
        self, method: str, url: URL, body: object, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Send a request; once more, where the connection was closed behind an earlier answer."""
        while True:
            had_answers, self._has_answers = self._has_answers, False
            try:
                response = await self._http.request(
                    method,
                    url,
                    json=body,
                    headers=headers,
                    allow_redirects=False,
                    server_hostname=self._host,
                )
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not had_answers or not self.repeats:
                    raise
            else:
                self._has_answers = True
                return response

    async def _read(self, response: aiohttp.ClientResponse) -> Answer:
        body = b""
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > LARGEST:
                raise CardError(f"answers {self._verb} with more than {LARGEST} bytes")
        try:
            if response.headers.get("Content-Encoding", "").lower() == "gzip":  # asked for or not
                body = zlib.decompressobj(GZIP).decompress(body, LARGEST)
            said = parse(body.decode("utf-8-sig"), DEEPEST) if body.strip() else {}
        except (ValueError, RecursionError, zlib.error) as error:
            if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                raise CardError(f"answers {self._verb} with what is not JSON") from error
            said = {}
        return Answer(response.status, said if isinstance(said, dict) else {}, response.headers)
