"""What programs of others run to switch a machine of the testbed, by the bridge; imports little.

It is run as a file, with the path of the bridge: as `PATH command NODE VERB` by whatever runs
commands, as `PATH chassis NODE get power` and the like by ipmi_sim for its chassis, and as
`PATH outlet NODE` by snmpd for what is below the OIDs of outlets.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ANSWER_LIMIT_S = 60.0
LONGEST = 200
# Where an APC Rack PDU has the state of an outlet, and its switch.
OUTLETS = ".1.3.6.1.4.1.318.1.1.12.3"
STATE, SWITCH = f"{OUTLETS}.5.1.1.4.", f"{OUTLETS}.3.1.1.4."
SHOWN = {"on": "1", "off": "2"}
SET = {"1": "on", "2": "off", "3": "reset"}


def ask(path: str, node: str, verb: str) -> str:
    """Ask at `path`, and wait for the answer, which may be a fault; raises OSError."""
    with short(path) as name, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_LIMIT_S)
        connection.connect(name)
        connection.sendall(f"{node} {verb}\n".encode())
        with connection.makefile() as lines:
            said = lines.readline(LONGEST).strip()
    if not said:
        raise ConnectionResetError("no answer")
    return said


def tell(path: str, node: str, verb: str) -> str:
    """Ask, and wait for the answer; raises OSError, for faults too."""
    return _no_fault(ask(path, node, verb))


def _no_fault(said: str) -> str:
    if said.startswith("card-"):
        raise ConnectionError(said)
    return said


@contextmanager
def short(path: str) -> Iterator[str]:
    """Name a socket in less than 100 letters, which is all that the kernel takes."""
    parent, name = os.path.split(path)
    directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{name}"
    finally:
        os.close(directory)


def command(path: str, node: str, verb: str) -> None:
    """Print the answer to a verb, or the first letter of any where it is to break off."""
    said = ask(path, node, verb)
    if said == "card-half":
        print("o", end="")
    else:
        print(_no_fault(said))


def chassis(path: str, node: str, *words: str) -> None:
    """Do as ipmi_sim asks: `get power`, `set power 1`, `set reset 1`."""
    if words == ("get", "power"):
        print(f"power:{int(tell(path, node, 'status') == 'on')}")
    else:
        orders = {("power", "0"): "off", ("power", "1"): "on", ("reset", "1"): "reset"}
        tell(path, node, orders[words[1], words[2]])


def outlet(path: str, node: str) -> None:
    """Answer snmpd, line by line, as its pass_persist wants it."""
    for line in sys.stdin:
        match line.strip():
            case "PING":
                answer = "PONG"
            case "get":
                answer = _get(path, node, sys.stdin.readline().strip())
            case "getnext":
                sys.stdin.readline()
                answer = "NONE"
            case "set":
                answer = _set(path, node, sys.stdin.readline().strip(), sys.stdin.readline())
            case _:
                continue  # what it sets ends with an empty line
        print(answer, flush=True)


def _get(path: str, node: str, oid: str) -> str:
    if not _is_below(oid, STATE) and not _is_below(oid, SWITCH):  # what it sets, it gets before
        return "NONE"
    try:
        return f"{oid}\ninteger\n{SHOWN[tell(path, node, 'status')]}"
    except OSError:
        return "NONE"


def _is_below(oid: str, table: str) -> bool:
    return oid.startswith(table) and oid.removeprefix(table).isdigit()


def _set(path: str, node: str, oid: str, value: str) -> str:
    kind, _, number = value.strip().partition(" ")
    if not _is_below(oid, SWITCH) or kind != "integer":
        return "not-writable"
    if number not in SET:
        return "wrong-value"
    try:
        tell(path, node, SET[number])
    except OSError:
        return "not-writable"
    return "DONE"


ROLES: dict[str, Callable[..., None]] = {"command": command, "chassis": chassis, "outlet": outlet}


def main() -> int:
    """Run what the words say; status 1, and why, where there is no answer, or a fault."""
    path, role, *words = sys.argv[1:]
    try:
        ROLES[role](path, *words)
    except (OSError, KeyError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
