"""Who could write what is open: by its mode, by who is in its group, and by lists of more users.

On Debian, as on Fedora, each user has a group of their own, and what they make is writable by it:
the umask is 002 there. That group's right is the user's own, as long as nobody else is in it.
"""

import errno
import os
import stat
from collections.abc import Iterable
from functools import cache

# Users and groups may be kept by a server in the network, which may be slow, or away.
_ANSWERS_WITHIN_S = 3.0


def may_others_write(descriptor: int, owners: Iterable[int] = ()) -> bool:
    """Tell whether anybody could write it but root, us, and those users; so, too, if unknown."""
    status = os.fstat(descriptor)
    if status.st_mode & stat.S_IWOTH:
        return True
    if not status.st_mode & stat.S_IWGRP:
        return False
    group = private_group(status.st_gid)
    return not group or not group <= {0, os.getuid(), *owners} or _has_list(descriptor)


def _has_list(descriptor: int) -> bool:
    """Whether an access control list may name more who could write: its mask is the group's mode.

    Those of POSIX and of NFS are attributes of the system's, which has no other ones.
    """
    try:  # by its path: a descriptor that was opened for a look only has no attributes
        attributes = os.listxattr(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        return error.errno != errno.ENOTSUP
    return any(name.startswith("system.") for name in attributes)


@cache
def private_group(gid: int) -> frozenset[int]:
    """Return the users who are in a group, if it is somebody's private one; else nobody.

    It is called as its user is, who has it from login on. In one for many, such as `users`, there
    may be more than are listed: not each server in the network lists all of its users. So its own
    user must be listed, too.
    """
    try:
        users = [(name, int(uid), int(own)) for name, _, uid, own, *_ in _entries("passwd")]
        # It may have a second name, with other members; and not each server lists its groups.
        groups = [
            (name, set(filter(None, members.split(","))))
            for name, _, number, members in _entries("group", str(gid)) + _entries("group")
            if int(number) == gid
        ]
    except (OSError, ValueError):
        return frozenset()
    called = {name for name, _ in groups}
    members = set().union(*(names for _, names in groups))
    inside = frozenset(uid for name, uid, own in users if own == gid or name in members)
    is_private = any(own == gid and name in called for name, _, own in users)
    return inside if is_private and members <= {name for name, *_ in users} else frozenset()


def _entries(*query: str) -> list[list[str]]:
    """Ask for users or groups, a list of fields each; raises OSError, ValueError.

    By a program, which can be ended; the library's call cannot, and holds up all else.
    """
    import subprocess  # only few need it

    try:
        asked = subprocess.run(
            ["getent", *query],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_ANSWERS_WITHIN_S,
        )
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error
    text = asked.stdout.decode("utf-8", "surrogateescape")
    return [line.split(":") for line in text.split("\n") if line]
