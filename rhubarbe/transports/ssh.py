"""Door to a node that runs its own system, or a ramdisk with ssh: no host keys, no prompt.

A testbed's nodes change host keys with each load, so they are not checked.
"""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from rhubarbe.errors import CommandFailed, Refused, Unreachable, require_means, why

if TYPE_CHECKING:
    import asyncssh

    from rhubarbe.transports.ssh_keys import Keys, Visit

# A few lines: more is not what was asked for.
LONGEST_ANSWER = 65536
PIECE = 4096
USER = "root"
# Wide enough that no line that is typed is folded.
TERMINAL = (1000, 50)

# Keys of nodes are not checked, so certificates are of no use; with those that the library offers
# too, Dropbear finds no name that it knows among the first twenty, and hangs up.
KEY_TYPES = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
)

# A server looks at some keys, and hangs up; at the others it looks in the next connection. OpenSSH
# takes that for failures, and at the fourth in a row it would refuse our address for a while.
MOST_VISITS = 3
LONGEST_GREETING = 255
_NOTHING_COMMON = re.compile(r"No matching (.+?) algorithm found, sent .* and received (.*)")
_NO_ALGORITHM = re.compile("kex-strict-|ext-info-")

# asyncssh tells of each connection at INFO; in the middle of our lines that is noise.
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)


async def unusable_keys() -> list[str]:
    """Return what is wrong with those of the user's key files that hold none."""
    from rhubarbe.transports.ssh_keys import broken_files

    return await asyncio.to_thread(broken_files)


async def log_in(ip: str, port: int, user: str, key: str, limit: float) -> str:
    """Open and close an ssh session; return the server's version banner.

    `key` is the path of a private key, or empty for the user's own keys and agent. Raises Refused
    when the server will not let `user` in, Unreachable when nothing answers within `limit` seconds.
    """
    async with _session(ip, port, user, key, limit) as connection:
        return str(connection.get_extra_info("server_version"))


async def ask(ip: str, port: int, user: str, key: str, limit: float, command: str) -> str:
    """Run a command of ours, which has no input; return what it writes, a few lines at most.

    Raises as `log_in`, where the command has `limit` seconds too, and CommandFailed when it ends
    with another status than 0.
    """
    async with _session(ip, port, user, key, limit) as connection, asyncio.timeout(limit):
        process = await connection.create_process(command, encoding="utf-8", errors="replace")
        async with process:
            answer = ""
            while piece := await process.stdout.read(LONGEST_ANSWER):
                answer += piece
                if len(answer) >= LONGEST_ANSWER:
                    raise CommandFailed(f"{command}: answers without end over ssh")
            await process.wait_closed()  # while wait() would gather complaints without end
            status = process.exit_status
            complaint = await process.stderr.read(PIECE) if status != 0 else ""
    if status != 0:
        words = f": {complaint}" if complaint.strip() else ""
        raise CommandFailed(f"{command}: ended with status {status} over ssh{words}")
    return answer


class Shell:
    """An open shell on a terminal: `send` text, read `pieces` of what comes back as it comes."""

    def __init__(self, process: "asyncssh.SSHClientProcess[str]") -> None:
        self._process = process

    async def send(self, text: str) -> None:
        """Write text as it is; raises Unreachable when the session is gone."""
        with _cut():
            self._process.stdin.write(text)
            await self._process.stdin.drain()

    async def pieces(self) -> AsyncIterator[str]:
        """Yield what the node says, in pieces of any length, until it closes the session."""
        with _cut():
            while piece := await self._process.stdout.read(PIECE):
                yield piece


@contextlib.contextmanager
def _cut() -> Iterator[None]:
    import asyncssh  # already there

    try:
        yield
    except (OSError, asyncssh.Error) as error:
        raise Unreachable(f"the ssh session was cut: {why(error)}") from error


@contextlib.asynccontextmanager
async def open_shell(ip: str, port: int, key: str, limit: float) -> AsyncIterator[Shell]:
    """Open root's shell on a terminal; raises as `log_in`.

    It is closed on every way out, at once, also where the node does not answer any more: whatever
    runs on the terminal is hung up.
    """
    async with contextlib.AsyncExitStack() as stack:
        with _translated(limit):
            connection = await stack.enter_async_context(_connected(ip, port, USER, key, limit))
            stack.callback(connection.abort)
            async with asyncio.timeout(limit):
                process = await connection.create_process(
                    term_type="dumb", term_size=TERMINAL, encoding="utf-8", errors="replace"
                )
        yield Shell(process)


@contextlib.asynccontextmanager
async def _session(
    ip: str, port: int, user: str, key: str, limit: float
) -> AsyncIterator["asyncssh.SSHClientConnection"]:
    """Hold a session; what the library raises within the context is translated too."""
    with _translated(limit):
        async with _connected(ip, port, user, key, limit) as connection:
            yield connection


@contextlib.asynccontextmanager
async def _connected(
    ip: str, port: int, user: str, key: str, limit: float
) -> AsyncIterator["asyncssh.SSHClientConnection"]:
    """Hold a connection in which the node has let us in; each that it takes has `limit` seconds."""
    from rhubarbe.transports.ssh_keys import gather  # who logs in nowhere need not wait for it

    keys = await gather(key)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(keys.close)
        if key and not keys.pairs:
            raise Refused(f"the ssh key cannot be used: {'; '.join(keys.faults)}")
        door = _Door(ip, port, user, keys, limit)
        for _ in range(MOST_VISITS):
            if (connection := await door.enter(stack)) is not None:
                break
        else:
            raise Refused(door.refusal(f"it has looked at {door.shown} of {len(keys.pairs)} keys"))
        yield connection


class _Door:
    """The way into one node for one user, with keys that are shown in turn."""

    def __init__(self, ip: str, port: int, user: str, keys: "Keys", limit: float) -> None:
        self._place = (ip, port)
        self._user = user
        self._keys = keys
        self._limit = limit
        self._turn = iter(keys.pairs)
        self._last_words = ""
        self.shown = 0

    def refusal(self, reason: str) -> str:
        """Word why nobody is let in, with the keys that could not be shown."""
        words = f"ssh refuses to let {self._user} in: {reason}"
        if self._last_words:
            words += f" ({self._last_words})"
        return "; ".join([words, *self._keys.faults])

    async def enter(
        self, stack: contextlib.AsyncExitStack
    ) -> "asyncssh.SSHClientConnection | None":
        """Try the keys that are left; return None where the node hung up before it saw them all."""
        import asyncssh

        from rhubarbe.transports.ssh_keys import Visit

        visit = Visit(self._turn)
        try:
            # The library's own connect_timeout may swallow a cancellation (asyncio.wait_for).
            async with asyncio.timeout(self._limit):
                return await self._connect(stack, visit)
        except asyncssh.PermissionDenied as error:
            self.shown += visit.shown
            raise Refused(self.refusal(self._judgement(visit))) from error
        except TimeoutError as error:
            if not visit.waits_for_agent:
                raise
            raise Unreachable(f"the ssh agent has not signed in {self._limit:g} s") from error
        except (asyncssh.ProtocolError, asyncssh.ConnectionLost, ConnectionError) as error:
            if not visit.shown:
                raise
            self.shown += visit.shown
            self._consider(visit, error)
            return None

    def _consider(self, visit: "Visit", error: Exception) -> None:
        """Consider why a node that was shown keys has hung up; raises unless others are left."""
        import asyncssh

        if visit.known is not None:  # such as: System is booting up
            raise Unreachable(f"ssh knows our key, and hangs up: {visit.banner}") from error
        self._last_words = why(error)
        if self.shown < len(self._keys.pairs):
            return
        if isinstance(error, asyncssh.ProtocolError):
            raise Refused(self.refusal("it takes none of our keys")) from error
        raise Unreachable(f"ssh: {why(error)}") from error  # perhaps it has just gone away

    def _judgement(self, visit: "Visit") -> str:
        if visit.known is not None:
            return f"it knows our key, but {self._user} may not log in, or needs more than a key"
        if not self._keys.pairs:
            return "there is no key to show"
        return "it takes none of our keys" if self.shown else "it takes no keys"

    async def _connect(
        self, stack: contextlib.AsyncExitStack, visit: "Visit"
    ) -> "asyncssh.SSHClientConnection":
        import asyncssh

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
                    known_hosts=None,
                    server_host_key_algs=KEY_TYPES,
                    compression_algs=None,
                    utf8_decode_errors="replace",
                    config=None,
                    preferred_auth="publickey",
                    login_timeout=self._limit,
                )
            )
        except (asyncssh.ConnectionLost, ConnectionError) as error:
            if not greeting:
                raise
            raise Unreachable(f"ssh: it says {greeting}") from error


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


@contextlib.contextmanager
def _translated(limit: float) -> Iterator[None]:
    """Raise NodeError, in our words, for what the library raises."""
    import asyncssh

    try:
        yield
    except asyncssh.KeyExchangeFailed as error:
        raise Refused(f"ssh: {_nothing_common(str(error))}") from error
    except asyncssh.ProtocolNotSupported as error:
        raise Refused(f"ssh: {why(error)}") from error
    except TimeoutError as error:
        raise Unreachable(f"no answer on ssh in {limit:g} s") from error
    except (OSError, asyncssh.Error, ValueError) as error:
        if isinstance(error, OSError):
            require_means(error)
        raise Unreachable(f"ssh: {why(error)}") from error


def _nothing_common(words: str) -> str:
    """Word shortly that there is no algorithm that both know."""
    found = _NOTHING_COMMON.search(words)
    if found is None:
        return words
    # Among the names of algorithms are some that are none, but say what the server understands.
    offered = [name for name in found[2].split(",") if not _NO_ALGORITHM.match(name)]
    return f"no common {found[1]} algorithm: it offers {','.join(offered)}"
