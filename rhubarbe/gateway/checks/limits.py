"""Whether this machine lets a command do its work, before it touches anything.

Whoever runs out of open files in the middle could not tell a node that does not answer from one
that was not asked: a connection is a file too.
"""

import resource
import threading

from rhubarbe.errors import GatewayError

# Measured, and rounded up: what a command holds open whatever it does (the loop, its log, the
# guardian, the server's pipes, the history), and what a node adds: one connection to be asked
# something, two while it is waited for, and those and its lock to be worked on.
OF_A_COMMAND = 24
TO_ASK, TO_WAIT, TO_WORK = 1, 2, 3
# Bytes of address space, where that is limited: each thread reserves far more than it uses.
TO_START, TO_SERVE = 128 << 20, 1 << 30
THREADS = 16


def require_room(nodes: int, for_each: int = TO_WORK) -> None:
    """Raise GatewayError where the work on `nodes` would need more than we may have."""
    most = _limit(resource.RLIMIT_NOFILE)
    needed = OF_A_COMMAND + nodes * for_each
    if needed > most:
        many = max(0, int(most - OF_A_COMMAND) // for_each)
        cure = f"take at most {many} nodes at a time, or raise" if many else "raise"
        work = "1 node" if nodes == 1 else f"{nodes} nodes"
        raise GatewayError(
            f"{needed} open files are needed for {work}, and this machine lets a process have"
            f" {most}: {cure} the limit (ulimit -n, LimitNOFILE= of systemd); nothing was touched"
        )
    require_addresses(TO_SERVE)
    _require_threads()


def require_addresses(least: int) -> None:
    """Raise GatewayError where a process may have fewer bytes of addresses.

    Python may then fail at any import, or at any thread, in ways that no program can mend.
    """
    if _limit(resource.RLIMIT_AS) < least:
        size = f"{least >> 30} GiB" if least >= 1 << 30 else f"{least >> 20} MiB"
        raise GatewayError(
            f"this machine lets a process have less than {size} of addresses: raise the limit"
            " (ulimit -v, LimitAS= of systemd); nothing was touched"
        )


def _limit(kind: int) -> float:
    soft, _ = resource.getrlimit(kind)
    return float("inf") if soft == resource.RLIM_INFINITY else soft


def _require_threads() -> None:
    """Start as many threads as a command may need: no limit tells how many there may be."""
    enough = threading.Event()
    threads = [threading.Thread(target=enough.wait) for _ in range(THREADS)]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise GatewayError(
            "this machine lets us start no more threads or processes: end some, or raise the limit"
            " (ulimit -u, TasksMax= of systemd); nothing was touched"
        ) from error
    finally:
        enough.set()
        for thread in started:
            thread.join()
