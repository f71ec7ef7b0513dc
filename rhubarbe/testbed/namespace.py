"""A private network: this process in a namespace of its own, with a bridge into which nodes plug.

Nothing of it has a name outside, so that nothing can be left behind: the kernel takes a namespace
away with the last process in it. Needs root, and `ip` of the Debian package iproute2.
"""

import ctypes
import fcntl
import os
import shlex
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.annexe.errors import ProgramFailed
from rhubarbe.testbed import programs
from rhubarbe.testbed.addresses import PER_ROW, Ports, local_mac

BRIDGE = "br0"
GATEWAY, PREFIX, NETMASK = "10.77.0.1", 16, "255.255.0.0"
CARDS, DATA = 78, 79  # second octets
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of unshare(2)
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 0x1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
LISTENS = "0A"  # a state in /proc/net/tcp
# `brd +` gives the broadcast address, without which some broadcasts are not sent
SWITCH = f"""\
link set lo up
link add {BRIDGE} type bridge mcast_snooping 0 forward_delay 0
addr add {GATEWAY}/{PREFIX} brd + dev {BRIDGE}
link set {BRIDGE} up
route add 224.0.0.0/4 dev {BRIDGE}
route add local 10.{CARDS}.0.0/16 dev lo
"""
ENTER = """\
#!/bin/sh
# Run a command on the gateway of this testbed, for as long as that runs: in its network.
export RHUBARBE_CONF={conf} PATH={binaries}:"$PATH"
exec nsenter --net=/proc/{pid}/ns/net "${{@:-${{SHELL:-sh}}}}"
"""


@dataclass(frozen=True, slots=True)
class PrivateNetwork:
    """Addresses in a network of our own, where all ports are the usual ones."""

    ports: Ports = Ports(cmc=80, telnet=23, ssh=22)

    def card(self, node: int) -> str:
        """Return the address of the power card of a node."""
        return f"10.{CARDS}.{node // PER_ROW}.{node % PER_ROW + 1}"

    def control(self, node: int) -> str:
        """Return the address of the node itself."""
        return f"10.77.{node // PER_ROW + 1}.{node % PER_ROW + 1}"

    def data(self, node: int) -> str:
        """Return the address of the node's second interface, which it does not have."""
        return f"10.{DATA}.{node // PER_ROW}.{node % PER_ROW + 1}"

    def mac(self, node: int, interface: int) -> str:
        """Return the hardware address of an interface: the card's 0, control 1, data 2."""
        return local_mac(0, node, interface)

    def __str__(self) -> str:
        return f"in network namespace {os.getpid()}"


def enter() -> None:
    """Move this thread, and all that it starts from now on, into a network of its own.

    Raises OSError.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot make a network namespace: {os.strerror(number)}")


@contextmanager
def private_network(directory: Path, binaries: Path) -> Iterator[PrivateNetwork]:
    """Enter a new network with a bridge in it; `directory`/enter runs commands there."""
    enter()
    ip(SWITCH)
    way = directory / "enter"
    conf = shlex.quote(str(directory / "rhubarbe.conf"))
    way.write_text(ENTER.format(conf=conf, pid=os.getpid(), binaries=shlex.quote(f"{binaries}")))
    way.chmod(0o755)
    try:
        yield PrivateNetwork()
    finally:
        way.unlink(missing_ok=True)


def ip(commands: str) -> None:
    """Do some commands of `ip`, one a line, which takes milliseconds; raises ProgramFailed."""
    done = subprocess.run(
        [programs.find("ip"), "-batch", "-"],
        input=commands,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProgramFailed(f"ip: {(done.stderr.strip().splitlines() or ['no word'])[0]}")


def plug_in(cable: str, mac: str, process: int) -> None:
    """Lay a cable from the bridge to a new interface eth0 in the network of a process."""
    ip(
        f"link add {cable} type veth peer name eth0 address {mac} netns {process}\n"
        f"link set {cable} master {BRIDGE} up\n"
    )


def add_tap(name: str) -> None:
    """Lay a cable whose other end a program holds."""
    ip(f"tuntap add dev {name} mode tap\nlink set {name} master {BRIDGE} up\n")


def listens(process: int, port: int) -> bool:
    """Whether something accepts connections on a port, in the network of a process."""
    sockets = (*_sockets(process, "tcp"), *_sockets(process, "tcp6"))
    return any(port == at and state == LISTENS for at, state in sockets)


def has_datagrams(process: int, port: int) -> bool:
    """Whether something receives datagrams on a port, in the network of a process."""
    return any(port == at for at, _ in _sockets(process, "udp"))


def _sockets(process: int, protocol: str) -> Iterator[tuple[int, str]]:
    """Yield the local port and the state of each socket; nothing once the process has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{process}/net/{protocol}").read_text().splitlines()[1:]:
            _, address, _, state, *_ = line.split()
            yield int(address.rpartition(":")[2], 16), state


def pull_plug(interface: str) -> None:
    """Take an interface down at once; whoever is behind it can say nothing more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", interface.encode(), 0)
        answer = fcntl.ioctl(any_socket, GET_FLAGS, request)
        flags = struct.unpack_from("16sH", answer)[1] & ~UP
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH14x", interface.encode(), flags))


def killed_with_us(*words: str) -> list[str]:
    """Return a command that the kernel kills when the thread that starts it ends (PDEATHSIG)."""
    return [programs.find("setpriv"), "--pdeathsig", "KILL", "--", *words]


def killed_with_us_across_setuid(*words: str) -> list[str]:
    """Return a command that is killed likewise, though it changes its user, which clears PDEATHSIG.

    A shell that does not is killed: it is first in a namespace of processes, so that the kernel
    ends all others there with it.
    """
    unshare = [programs.find("unshare"), "--pid", "--fork", "--kill-child", "--"]
    return killed_with_us(*unshare, "/bin/sh", "-c", '"$@" & wait $!', "sh", *words)
