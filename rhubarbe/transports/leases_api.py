"""Door to the reservation service: REST over HTTP, JSON in both directions.

Reading is public. Writing takes a token: one that is configured, or what a login answers. Times are
ISO 8601 with a zone, in UTC where we write them.
"""

import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from rhubarbe.errors import LeaseError
from rhubarbe.text import sanitise
from rhubarbe.transports.resolver import PatientResolver

# Years of leases have room in this; a service that sends more is broken.
LONGEST_ANSWER = 4 << 20
PIECE = 65536
SHOWN = 80
LATEST = 32503680000.0  # the year 3000


@dataclass(frozen=True, slots=True)
class Reservation:
    """A lease as the service tells it; times in seconds since the epoch."""

    id: str
    slice_name: str
    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Resource:
    """What is reserved, in multiples of `granularity` seconds."""

    id: str
    granularity: int


class Reservations:
    """The service at one address, for one resource; an async context manager."""

    def __init__(self, url: str, resource_name: str, token: str, limit_s: float) -> None:
        """Talk to the service at `url`; each request takes at most `limit_s` seconds."""
        self._url = url.rstrip("/")
        self._resource_name = resource_name
        self._token = token
        self._limit_s = limit_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._limit_s),
            connector=aiohttp.TCPConnector(force_close=True, resolver=PatientResolver()),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def log_in(self, email: str, password: str) -> None:
        """Take the token of this person for what follows; raises LeaseError."""
        answer = await self._ask("POST", "/auth/login", {"email": email, "password": password})
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise self._error("answers a login without a token")
        self._token = token

    async def resource(self) -> Resource:
        """Return what the service knows of the resource; raises LeaseError."""
        name = urllib.parse.quote(self._resource_name, safe="")
        answer = await self._ask("GET", f"/resources/by-name/{name}")
        try:
            return Resource(str(answer["id"]), max(1, int(answer.get("granularity") or 1)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._error(f"describes {self._resource_name} as {_cut(answer)}") from error

    async def reservations(self, resource: Resource, **query: str) -> list[Reservation]:
        """Return the leases of a resource, those that make sense; raises LeaseError.

        The query may say `alive`, an epoch, or `after` and `before`, ISO.
        """
        parameters = urllib.parse.urlencode({"resource_id": resource.id} | query)
        answer = await self._ask("GET", f"/leases?{parameters}")
        if not isinstance(answer, list):
            raise self._error(f"answers with {_cut(answer)} instead of a list of leases")
        return list(_sensible(answer, resource))

    async def create(self, slice_name: str, begins: float, ends: float) -> Reservation:
        """Make a lease; raises LeaseError, also where the time is not free."""
        body = {
            "resource_name": self._resource_name,
            "slice_name": slice_name,
            "t_from": utc(begins),
            "t_until": utc(ends),
        }
        answer = await self._ask("POST", "/leases", body)
        try:
            return _reservation({"slice_name": slice_name} | answer)
        except (KeyError, TypeError, ValueError) as error:
            raise self._error(f"answers a booking with {_cut(answer)}") from error

    async def shorten(self, lease: str, ends: float) -> None:
        """Let a lease end at another time; raises LeaseError."""
        await self._ask("PATCH", f"/leases/{_part(lease)}", {"t_until": utc(ends)})

    async def delete(self, lease: str) -> None:
        """Delete a lease; raises LeaseError."""
        await self._ask("DELETE", f"/leases/{_part(lease)}")

    async def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        if self._session is None:
            raise RuntimeError("Reservations must be entered before they are asked")
        headers = {"Accept": "application/json"}
        if self._token and method != "GET":
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            async with self._session.request(
                method, self._url + path, json=body, headers=headers, allow_redirects=False
            ) as answer:
                text = await self._body(answer)
                self._require_success(answer.status, text)
                return _parsed(text)
        except TimeoutError as error:
            raise self._error(f"no answer in {self._limit_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._error(f"cannot be reached: {error}") from error
        except (ValueError, RecursionError) as error:
            raise self._error("answers with what is no JSON") from error

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        while piece := await answer.content.read(PIECE):
            body += piece
            if len(body) > LONGEST_ANSWER:
                raise self._error(f"answers with more than {LONGEST_ANSWER >> 20} MiB")
        return bytes(body)

    def _require_success(self, status: int, text: bytes) -> None:
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        words = {
            HTTPStatus.CONFLICT: "that time is not free: nothing was booked",
            HTTPStatus.UNAUTHORIZED: "wants a valid login or token (HTTP status 401)",
            HTTPStatus.FORBIDDEN: "does not let you do that (HTTP status 403)",
        }.get(HTTPStatus(status) if status in set(HTTPStatus) else HTTPStatus.OK)
        said = _cut(text.decode("utf-8", "replace")) if text else "nothing"
        raise self._error(words or f"answers with HTTP status {status}, and says {said}")

    def _error(self, words: str) -> LeaseError:
        return LeaseError(sanitise(f"the reservation service at {self._url}: {words}"))


def utc(seconds: float) -> str:
    """Word a time as the service reads it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _part(lease: str) -> str:
    return urllib.parse.quote(lease, safe="")


def _parsed(text: bytes) -> Any:
    return json.loads(text) if text.strip() else None


def _cut(said: object) -> str:
    words = " ".join(str(said).split())
    return ascii(words if len(words) <= SHOWN else words[:SHOWN] + "...")


def _sensible(answer: list[Any], resource: Resource) -> Iterator[Reservation]:
    """Yield the leases of the resource; one that is broken takes none of the others with it."""
    for each in answer:
        try:
            if str(each.get("resource_id", resource.id)) == resource.id:
                yield _reservation(each)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            continue


def _reservation(told: Mapping[str, Any]) -> Reservation:
    begins, ends = (_epoch(told[key]) for key in ("t_from", "t_until"))
    name = told["slice_name"]
    if not isinstance(name, str) or not 0 <= begins < ends <= LATEST:
        raise ValueError(told)
    return Reservation(str(told["id"]), name, begins, ends)


def _epoch(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)  # without a zone, it may be any time
    return moment.timestamp()
