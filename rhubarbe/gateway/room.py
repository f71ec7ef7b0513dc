"""Whether this process may open as many files as a command will need, before it touches anything.

A connection is a file too. Whoever runs out of them in the middle could not tell a node that does
not answer from one that was not asked.
"""

import resource

from rhubarbe.errors import GatewayError

# Measured, and rounded up: what a command holds open whatever it does (the loop, its log, the
# guardian, the server's pipes, the history), and what a node adds: one connection to be asked
# something, two while it is waited for, and those and its lock to be worked on.
OF_A_COMMAND = 24
TO_ASK, TO_WAIT, TO_WORK = 1, 2, 3


def require_room(nodes: int, for_each: int = TO_WORK) -> None:
    """Raise GatewayError where `nodes` would need more open files than we may have."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = OF_A_COMMAND + nodes * for_each
    if most != resource.RLIM_INFINITY and needed > most:
        many = max(0, (most - OF_A_COMMAND) // for_each)
        cure = f"take at most {many} nodes at a time, or raise" if many else "raise"
        raise GatewayError(
            f"{needed} open files are needed for {nodes} nodes, and this machine lets a process"
            f" have {most}: {cure} the limit (ulimit -n, LimitNOFILE= of systemd);"
            " nothing was touched"
        )
