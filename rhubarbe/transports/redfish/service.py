"""A Redfish service: who is proven by TLS, logged in to for one talk, and out of again.

A session is ended in any case, since many controllers have room for few; where there is none, or no
room, the password is shown with each request.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from yarl import URL

from rhubarbe.errors import CardError
from rhubarbe.text import hide
from rhubarbe.transports import tls
from rhubarbe.transports.power.base import answering
from rhubarbe.transports.redfish.talk import REFUSALS, Answer, Talk
from rhubarbe.transports.redfish.values import RedfishValues, inside, link

ROOT = "/redfish/v1/"
LOGS_OUT_WITHIN_S = 3.0


class Service:
    """The service of one controller; each talk is a connection of its own."""

    def __init__(self, values: RedfishValues) -> None:
        self._values = values
        self._base = URL.build(scheme="https", host=values.address, port=values.port)
        self._proof: tls.Proof | None = None
        self._sessions: str | None = None  # where they are; not yet known, or nowhere
        self._systems = self._system = ""

    @contextlib.asynccontextmanager
    async def talk(self, verb: str, within: float) -> AsyncIterator[Talk]:
        """Be logged in for a verb, for so many seconds; raises CardError, and GatewayError."""
        values = self._values
        password = await values.password.reveal()
        self._proof = self._proof or await tls.proof(
            values.ca, values.fingerprint, insecure=values.insecure
        )
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._proof, limit=1),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,
            ) as http,
            contextlib.AsyncExitStack() as ends,
        ):
            talk = Talk(http, self._base, values.host, verb)
            try:
                async with answering(verb, within), _told(verb):
                    await self._log_in(talk, password, ends)
                    yield talk
            except CardError as error:
                if talk.not_now and isinstance(error.__cause__, TimeoutError):
                    raise CardError(f"answers {verb} with {talk.not_now}") from error
                raise

    async def system(self, talk: Talk) -> Answer:
        """Return the machine, found by itself where there is one."""
        if not self._system:
            if not self._systems:
                self._systems = link((await talk.get(ROOT)).said, "Systems")
            systems = await talk.get(self._systems)
            self._system = self._found(inside(systems.said, "Members"))
        return await talk.get(self._system)

    @property
    def path(self) -> str:
        """Where the machine was found."""
        return self._system

    def _found(self, members: Any) -> str:
        """Return the path of our machine among those that there are; raises CardError."""
        several = members if isinstance(members, list) else []
        paths = [path for each in several if (path := link(each))]
        wanted = self._values.system.rstrip("/")
        fitting = [
            path
            for path in paths
            if not wanted or wanted in (path.rstrip("/"), path.rstrip("/").rpartition("/")[2])
        ]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(path.rstrip("/").rpartition("/")[2] for path in paths)
        if wanted or not paths:
            raise CardError(f"has no system {wanted}".rstrip() + f", but {names or 'none'}")
        raise CardError(f"has several systems: {names}: say in the inventory which, as `system`")

    async def _log_in(self, talk: Talk, password: str, ends: contextlib.AsyncExitStack) -> None:
        """Open a session, which `ends` ends; or show the password each time, where it has none."""
        user = self._values.user
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        hide(basic)
        if self._sessions is None:
            root = await talk.ask("GET", ROOT)  # which nobody has to log in for
            self._sessions = link(root.said, "Links", "Sessions")
            self._systems = link(root.said, "Systems")
        if self._sessions:
            body = {"UserName": user, "Password": password}
            session = await talk.ask("POST", self._sessions, body, waits=False)
            if session.status in REFUSALS:
                talk.required(session)
            token = session.header("X-Auth-Token")
            if session.is_good and token:
                if place := session.headers.get("Location") or link(session.said):
                    ends.push_async_callback(_log_out, talk, place)
                talk.credentials = {"X-Auth-Token": token}
                return
        # There are none, or there is no room for one more.
        talk.credentials = {"Authorization": f"Basic {basic}"}


async def _log_out(talk: Talk, session: str) -> None:
    """End a session, also of a talk that has failed, or was cancelled."""
    with contextlib.suppress(CardError, OSError, aiohttp.ClientError):
        async with asyncio.timeout(LOGS_OUT_WITHIN_S):
            await talk.ask("DELETE", session, waits=False)


@contextlib.asynccontextmanager
async def _told(verb: str) -> AsyncIterator[None]:
    """Tell errors of the library in words of ours; those of the network are told elsewhere."""
    try:
        yield
    except aiohttp.ServerFingerprintMismatch as error:
        raise CardError(f"shows another certificate, of fingerprint {error.got.hex()}") from error
    except aiohttp.ClientConnectorCertificateError as error:
        reason = getattr(error.certificate_error, "verify_message", "") or "it does not fit"
        raise CardError(f"shows a certificate that cannot be trusted: {reason}") from error
    except aiohttp.ClientSSLError as error:
        reason = getattr(error.os_error, "reason", None) or "no reason given"
        raise CardError(f"cannot be spoken to by TLS: {reason}") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError) as error:
        raise CardError(f"hangs up before it has answered {verb}") from error
    except aiohttp.ClientResponseError as error:
        raise CardError(f"answers {verb} with what is not HTTP") from error
    except aiohttp.ClientError as error:
        if isinstance(error, OSError):
            raise
        raise CardError(f"cannot be asked for {verb}: {error}") from error
