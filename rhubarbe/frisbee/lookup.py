"""A client asks a master server for an image by its name, and is told what session to join."""

import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from rhubarbe.frisbee.errors import FrisbeeError, MalformedPacket, ServerSilent
from rhubarbe.frisbee.master import (
    ITSELF,
    PORT,
    REPLY_BYTES,
    WORDS,
    GetReply,
    GetRequest,
    Method,
    Refusal,
    can_be_host,
)
from rhubarbe.frisbee.settings import ClientSettings
from rhubarbe.text import sanitise


def with_session(settings: ClientSettings, say: Callable[[str], None]) -> ClientSettings:
    """Return the settings with group, port and server of the image that they name, if they do.

    While the image is busy, that is said, and the server asked again after `-B` seconds.

    Raises:
        ServerSilent: no answer within the limit of silence.
        FrisbeeError: the master server cannot be reached, refuses, or makes no sense.

    """
    if not settings.image:
        return settings
    while (reply := _ask(settings)).refusal == Refusal.TRY_AGAIN and settings.busy_wait:
        wait = settings.busy_wait
        say(sanitise(f"{settings.image}: image busy, waiting {wait} seconds..."))
        time.sleep(wait)
    _refuse_odd(settings, reply)
    return replace(
        settings,
        group=reply.address,
        port=reply.port,
        server="" if reply.server == ITSELF else reply.server,
        is_broadcast=reply.method == Method.BROADCAST,
    )


def describe(settings: ClientSettings) -> tuple[str, bool]:
    """Return what a master server says of an image, and whether we may have it (`-Q`).

    Raises as `with_session` does.
    """
    reply = _ask(settings, only_asks=True)
    if reply.refusal:
        return f"{settings.image}: {_words(reply)}", False
    where = f", served at {reply.address}:{reply.port}" if reply.is_running else ""
    return f"{settings.image}: may be had, {reply.size} bytes{where}", True


def _ask(settings: ClientSettings, *, only_asks: bool = False) -> GetReply:
    request = GetRequest(
        settings.image.encode(errors="surrogateescape"),
        settings.methods,
        only_asks,
        settings.host or ITSELF,
    )
    master, limit = settings.server, settings.tuning.silence or None
    source = (settings.interface, 0) if settings.interface else None
    try:
        with socket.create_connection((master, PORT), limit, source) as connection:
            connection.sendall(request.encode())
            return GetReply.decode(_read(connection, limit))
    except TimeoutError:
        raise ServerSilent(
            f"*** No messages from server after {limit:.0f} seconds, exiting"
        ) from None
    except MalformedPacket as error:
        raise FrisbeeError(f"{master}: is no master server: {error}") from error
    except OSError as error:
        text = f"Cannot ask {master}:{PORT} for {settings.image}: {error.strerror}"
        raise FrisbeeError(sanitise(text)) from error


def _read(connection: socket.socket, limit: float | None) -> bytes:
    """Return a whole reply, or what came before the end; raise TimeoutError."""
    reply, end = b"", time.monotonic() + (limit or 0)
    while len(reply) < REPLY_BYTES:
        if limit:
            connection.settimeout(max(end - time.monotonic(), 0.001))
        if not (part := connection.recv(REPLY_BYTES - len(reply))):
            break
        reply += part
    return reply


def _refuse_odd(settings: ClientSettings, reply: GetReply) -> None:
    """Raise FrisbeeError where there is no image, or nothing that could be joined."""
    if reply.refusal:
        raise FrisbeeError(sanitise(f"{settings.image}: {_words(reply)}"))
    address = ipaddress.IPv4Address(reply.address)
    fits = {
        Method.MULTICAST: address.is_multicast,
        Method.UNICAST: can_be_host(reply.address),
        Method.BROADCAST: not address.is_multicast,
    }
    is_asked_for = reply.method in fits and reply.method & settings.methods
    if not (is_asked_for and fits[Method(reply.method)] and reply.port):
        raise FrisbeeError(
            f"{settings.server}: makes no sense: method {reply.method}"
            f" at {reply.address}:{reply.port}"
        )


def _words(reply: GetReply) -> str:
    try:
        return WORDS[Refusal(reply.refusal)]
    except ValueError:
        return f"refused, for a reason {reply.refusal} that is not known here"
