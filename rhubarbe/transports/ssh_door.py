"""The way into one node: a connection in which keys are shown until one is taken, or several."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import asyncssh

from rhubarbe.errors import Mistrusted, Refused, Unreachable, why
from rhubarbe.transports import ssh_keys
from rhubarbe.transports.known_hosts import ANYBODY, Identity, KnownKeys, look_up

# With all that the library offers, Dropbear finds no name that it knows among the first twenty, and
# hangs up. Certificates are of use only where an authority is known.
KEY_TYPES = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
)
CERTIFICATES = tuple(f"{name}-cert-v01@openssh.com" for name in KEY_TYPES[:-1])

# A server looks at some keys, and hangs up; at the others it looks in the next connection. OpenSSH
# takes that for failures, and at the fourth in a row it would refuse our address for a while.
MOST_VISITS = 3
LONGEST_GREETING = 255


@contextlib.asynccontextmanager
async def entered(
    ip: str, port: int, user: str, key: str, limit_s: float, identity: Identity = ANYBODY
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Hold a connection in which the node has let us in; each that it takes has `limit_s` seconds.

    It must be the node of this identity.
    """
    known = await look_up(identity, ip, port)
    async with ssh_keys.gathered(key) as keys, contextlib.AsyncExitStack() as stack:
        if key and not keys.pairs:
            raise Refused(f"the ssh key {'; '.join(keys.faults)}")
        door = _Door(ip, port, user, keys, limit_s, known)
        for _ in range(MOST_VISITS):
            if (connection := await door.enter(stack)) is not None:
                break
        else:
            raise Refused(door.refusal(f"it has looked at {door.shown} of {len(keys.pairs)} keys"))
        yield connection


class _Door:
    """The way into one node for one user, with keys that are shown in turn."""

    def __init__(
        self,
        ip: str,
        port: int,
        user: str,
        keys: ssh_keys.Keys,
        limit_s: float,
        known: KnownKeys | None,
    ) -> None:
        self._place = (ip, port)
        self._user = user
        self._keys = keys
        self._limit_s = limit_s
        self._known = known
        self._turn = iter(keys.pairs)
        self._last_words = ""
        self.shown = 0

    def refusal(self, reason: str) -> str:
        """Word why nobody is let in, with the keys that could not be shown."""
        words = f"ssh refuses to let {self._user} in: {reason}"
        if self._last_words:
            words += f" ({self._last_words})"
        return "; ".join([words, *self._keys.faults])

    async def enter(self, stack: contextlib.AsyncExitStack) -> asyncssh.SSHClientConnection | None:
        """Try the keys that are left; return None where the node hung up before it saw them all."""
        visit = ssh_keys.Visit(self._turn, self._known)
        try:
            # The library's own connect_timeout may swallow a cancellation (asyncio.wait_for).
            async with asyncio.timeout(self._limit_s):
                return await self._connect(stack, visit)
        except asyncssh.PermissionDenied as error:
            self.shown += visit.shown
            raise Refused(self.refusal(self._judgement(visit))) from error
        except asyncssh.HostKeyNotVerifiable as error:
            raise visit.mistrust or Mistrusted(why(error)) from error
        except TimeoutError as error:
            if not visit.waits_for_agent:
                raise
            raise Unreachable(f"the ssh agent has not signed in {self._limit_s:g} s") from error
        except (asyncssh.ProtocolError, asyncssh.ConnectionLost, ConnectionError) as error:
            if not visit.shown:
                raise
            self.shown += visit.shown
            self._consider(visit, error)
            return None

    def _consider(self, visit: ssh_keys.Visit, error: Exception) -> None:
        """Consider why a node that was shown keys has hung up; raises unless others are left."""
        if visit.known is not None:  # such as: System is booting up
            raise Unreachable(f"ssh knows our key, and hangs up: {visit.banner}") from error
        self._last_words = why(error)
        if self.shown < len(self._keys.pairs):
            return
        if isinstance(error, asyncssh.ProtocolError):
            raise Refused(self.refusal("it takes none of our keys")) from error
        raise Unreachable(f"ssh: {why(error)}") from error  # perhaps it has just gone away

    def _judgement(self, visit: ssh_keys.Visit) -> str:
        if visit.known is not None:
            return f"it knows our key, but {self._user} may not log in, or needs more than a key"
        if not self._keys.pairs:
            return "there is no key to show"
        return "it takes none of our keys" if self.shown else "it takes no keys"

    async def _connect(
        self, stack: contextlib.AsyncExitStack, visit: ssh_keys.Visit
    ) -> asyncssh.SSHClientConnection:
        connected = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        stack.callback(connected.close)
        await asyncio.get_running_loop().sock_connect(connected, self._place)
        greeting = await _greeting(connected)
        try:
            return await stack.enter_async_context(
                asyncssh.connect(
                    sock=connected,
                    username=self._user,
                    client_factory=lambda: visit,
                    client_keys=None,
                    agent_path=None,
                    **_host_keys(self._known),
                    compression_algs=None,
                    utf8_decode_errors="replace",
                    config=None,
                    preferred_auth="publickey",
                    login_timeout=self._limit_s,
                )
            )
        except (asyncssh.ConnectionLost, ConnectionError) as error:
            if not greeting:
                raise
            raise Unreachable(f"ssh: it says {greeting}") from error


def _host_keys(known: KnownKeys | None) -> dict[str, Any]:
    """Return the library's options on keys of hosts; what is not signed, the visit judges."""
    if known is None:
        return {"known_hosts": None, "server_host_key_algs": KEY_TYPES}
    authorities = known.authorities
    # As OpenSSH does: certificates first, then types that are known, so that a node shows those.
    liked = {name.decode() for _, key in known.trusted for name in key.sig_algorithms}
    types = sorted(KEY_TYPES, key=lambda name: name not in liked)
    return {
        "known_hosts": ([], authorities, known.revoked if authorities else []),
        "host_key_alias": known.identity.name,  # what a certificate has to be for
        "server_host_key_algs": [*(CERTIFICATES if authorities else ()), *types],
    }


async def _greeting(connected: socket.socket) -> str:
    """Return the line that a server says instead of its version, such as: Exceeded MaxStartups.

    It stays in the socket, for the library.
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connected, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connected)
    said = connected.recv(LONGEST_GREETING, socket.MSG_PEEK)
    return "" if said.startswith(b"SSH-") else said.partition(b"\n")[0].decode("utf-8", "replace")
