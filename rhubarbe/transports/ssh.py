"""Door to a node that runs its own system: ssh, without host keys and without any prompt.

A testbed's nodes change host keys with each load, so they are not checked.
"""

import logging
import os

import asyncssh

from rhubarbe.errors import Refused, Unreachable

# asyncssh tells of each connection at INFO; in the middle of our lines that is noise.
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)


async def log_in(ip: str, port: int, user: str, key: str, limit: float) -> str:
    """Open and close an ssh session; return the server's version banner.

    `key` is the path of a private key, or empty for the user's own keys and agent. Raises Refused
    when the server will not let `user` in, Unreachable when nothing answers within `limit` seconds.
    """
    options = {"client_keys": [key], "agent_path": None} if key else {}
    try:
        async with asyncssh.connect(
            ip,
            port,
            username=user,
            known_hosts=None,
            config=None,
            password_auth=False,
            kbdint_auth=False,
            connect_timeout=limit,
            login_timeout=limit,
            **options,
        ) as connection:
            return str(connection.get_extra_info("server_version"))
    except asyncssh.PermissionDenied as error:
        raise Refused(f"ssh refuses to let {user} in: {error.reason}") from error
    except (asyncssh.KeyImportError, FileNotFoundError, PermissionError) as error:
        raise Refused(f"the ssh key {key or 'of this user'} cannot be used: {error}") from error
    except TimeoutError as error:
        raise Unreachable(f"no answer on ssh in {limit:g} s") from error
    except (OSError, asyncssh.Error, ValueError) as error:
        words = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise Unreachable(f"ssh: {words}") from error
