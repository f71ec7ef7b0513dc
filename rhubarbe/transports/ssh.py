"""Door to a node that runs its own system: ssh, without host keys and without any prompt.

A testbed's nodes change host keys with each load, so they are not checked.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from rhubarbe.errors import CommandFailed, Refused, Unreachable, why

if TYPE_CHECKING:
    import asyncssh

# A few lines: more is not what was asked for.
LONGEST_ANSWER = 65536

# Keys of nodes are not checked, so certificates are of no use; with those that the library offers
# too, Dropbear finds no name that it knows among the first twenty, and hangs up.
KEY_TYPES = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
)

# asyncssh tells of each connection at INFO; in the middle of our lines that is noise.
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)


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
            status = (await process.wait()).exit_status
    if status != 0:
        raise CommandFailed(f"{command}: ended with status {status} over ssh")
    return answer


@contextlib.asynccontextmanager
async def _session(
    ip: str, port: int, user: str, key: str, limit: float
) -> AsyncIterator["asyncssh.SSHClientConnection"]:
    """Hold a session; what the library raises within the context is translated too."""
    import asyncssh  # who logs in nowhere need not wait for it

    options = {"client_keys": [key], "agent_path": None} if key else {}
    try:
        async with asyncssh.connect(
            ip,
            port,
            username=user,
            known_hosts=None,
            server_host_key_algs=KEY_TYPES,
            config=None,
            password_auth=False,
            kbdint_auth=False,
            connect_timeout=limit,
            login_timeout=limit,
            **options,
        ) as connection:
            yield connection
    except asyncssh.PermissionDenied as error:
        raise Refused(f"ssh refuses to let {user} in: it takes none of our keys") from error
    except (asyncssh.KeyImportError, FileNotFoundError, PermissionError) as error:
        raise Refused(
            f"the ssh key {key or 'of this user'} cannot be used: {why(error)}"
        ) from error
    except TimeoutError as error:
        raise Unreachable(f"no answer on ssh in {limit:g} s") from error
    except (OSError, asyncssh.Error, ValueError) as error:
        raise Unreachable(f"ssh: {why(error)}") from error
