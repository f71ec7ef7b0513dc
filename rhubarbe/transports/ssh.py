"""Door to a node that runs its own system, or a ramdisk with ssh: no prompt.

A testbed's nodes change host keys with each load, so a key is checked only where it is known.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CommandFailed, Refused, Unreachable, require_means, why
from rhubarbe.transports.known_hosts import ANYBODY, Identity

if TYPE_CHECKING:
    import asyncssh


# A few lines: more is not what was asked for.
LONGEST_ANSWER = 65536
PIECE = 4096
USER = "root"
# Wide enough that no line that is typed is folded.
TERMINAL = (1000, 50)

_NOTHING_COMMON = re.compile(r"No matching (.+?) algorithm found, sent .* and received (.*)")
_NO_ALGORITHM = re.compile("kex-strict-|ext-info-")

# asyncssh logs each connection, which would appear among our own lines.
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)


async def unusable_keys() -> list[str]:
    """Return what is wrong with those of the user's key files that hold none."""
    from rhubarbe.transports.ssh_keys import broken_files

    return await asyncio.to_thread(broken_files)


@dataclass(frozen=True, slots=True)
class SshHost:
    """A node's ssh service, where `user` logs in with a key; `identity` is who has to answer."""

    ip: str
    port: int
    user: str
    key: str
    identity: Identity

    @classmethod
    def of(
        cls, name: str, ip: str, networking: "NetworkingSettings", user: str = USER
    ) -> "SshHost":
        """Return that of a node's own system."""
        identity = Identity.of(name, networking)
        return cls(ip, networking.ssh_port, user, networking.ssh_key, identity)

    async def log_in(self, limit_s: float) -> str:
        """Log in, as the function of this name does."""
        return await log_in(self.ip, self.port, self.user, self.key, limit_s, self.identity)

    async def ask(self, limit_s: float, command: str) -> str:
        """Run a command, as the function of this name does."""
        where = (self.ip, self.port, self.user, self.key)
        return await ask(*where, limit_s, command, identity=self.identity)


async def lacking_keys(key: str) -> list[str] | None:
    """Say why there is no key at all to be shown to a node; None where there is one.

    `key` is as for `log_in`.
    """
    from rhubarbe.transports.ssh_keys import gathered

    async with gathered(key) as keys:
        return None if keys.pairs else keys.faults


async def log_in(
    ip: str, port: int, user: str, key: str, limit_s: float, identity: Identity = ANYBODY
) -> str:
    """Open and close an ssh session; return the server's version banner.

    `key` is the path of a private key, or empty for the user's own keys and agent. Raises Refused
    when the server will not let `user` in, or is not the node of this identity; and Unreachable
    when nothing answers within `limit_s` seconds.
    """
    async with _session(ip, port, user, key, limit_s, identity) as connection:
        return str(connection.get_extra_info("server_version"))


async def ask(  # noqa: PLR0913 - as `SshHost` puts them together
    ip: str,
    port: int,
    user: str,
    key: str,
    limit_s: float,
    command: str,
    *,
    identity: Identity = ANYBODY,
) -> str:
    """Run a command of ours, which has no input; return what it writes, a few lines at most.

    Raises as `log_in`, where the command has `limit_s` seconds too, and CommandFailed when it ends
    with another status than 0.
    """
    session = _session(ip, port, user, key, limit_s, identity)
    async with session as connection, asyncio.timeout(limit_s):
        process = await connection.create_process(command, encoding="utf-8", errors="replace")
        async with process:
            answer = ""
            while piece := await process.stdout.read(LONGEST_ANSWER):
                answer += piece
                if len(answer) >= LONGEST_ANSWER:
                    raise CommandFailed(f"{command}: answers without end over ssh")
            await process.wait_closed()  # wait() would gather all of stderr, which may be endless
            status = process.exit_status
            complaint = await process.stderr.read(PIECE) if status != 0 else ""
    if status != 0:
        words = f": {complaint}" if complaint.strip() else ""
        raise CommandFailed(f"{command}: ended with status {status} over ssh{words}")
    return answer


class SshSession:
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
async def open_shell(
    ip: str, port: int, key: str, limit_s: float, identity: Identity = ANYBODY
) -> AsyncIterator[SshSession]:
    """Open root's shell on a terminal; raises as `log_in`.

    It is closed on every way out, at once, also where the node does not answer any more: whatever
    runs on the terminal is hung up.
    """
    async with contextlib.AsyncExitStack() as stack:
        with _translated(limit_s):
            connection = await stack.enter_async_context(
                _entered(ip, port, USER, key, limit_s, identity)
            )
            stack.callback(connection.abort)
            async with asyncio.timeout(limit_s):
                process = await connection.create_process(
                    term_type="dumb", term_size=TERMINAL, encoding="utf-8", errors="replace"
                )
        yield SshSession(process)


@contextlib.asynccontextmanager
async def _session(
    ip: str, port: int, user: str, key: str, limit_s: float, identity: Identity
) -> AsyncIterator["asyncssh.SSHClientConnection"]:
    """Hold a session; what the library raises within the context is translated too."""
    with _translated(limit_s):
        async with _entered(ip, port, user, key, limit_s, identity) as connection:
            yield connection


def _entered(
    ip: str, port: int, user: str, key: str, limit_s: float, identity: Identity
) -> contextlib.AbstractAsyncContextManager["asyncssh.SSHClientConnection"]:
    from rhubarbe.transports.ssh_door import entered  # who logs in nowhere need not wait for it

    return entered(ip, port, user, key, limit_s, identity)


@contextlib.contextmanager
def _translated(limit_s: float) -> Iterator[None]:
    """Raise NodeError, in our words, for what the library raises."""
    import asyncssh

    try:
        yield
    except asyncssh.KeyExchangeFailed as error:
        raise Refused(f"ssh: {_nothing_common(str(error))}") from error
    except asyncssh.ProtocolNotSupported as error:
        raise Refused(f"ssh: {why(error)}") from error
    except TimeoutError as error:
        raise Unreachable(f"no answer on ssh in {limit_s:g} s") from error
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
