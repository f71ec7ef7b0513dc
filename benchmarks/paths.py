"""Kinds of wire between a server and its clients, of network namespaces that end with us.

`enter` has the whole program run in a namespace of its own; what is made there, and whoever runs
there, is gone when it ends. Only root can.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

SERVER = "10.77.1.1"
_ENTERED = "WIRE_ENTERED"


def enter() -> None:
    """Run this program again, in namespaces of its own, unless it is there already."""
    if os.environ.get(_ENTERED):
        run("mount -t tmpfs tmpfs /run/netns")
        run("ip link set lo up")
        return
    if os.geteuid():
        sys.exit("only root can make network namespaces")
    pathlib.Path("/run/netns").mkdir(exist_ok=True)
    os.environ[_ENTERED] = "1"
    words = ["unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]
    os.execvp("unshare", [*words, sys.executable, *sys.argv])


def run(line: str) -> None:
    """Run a command of the system's."""
    subprocess.run(line.split(), check=True, stdout=subprocess.DEVNULL)


def inside(namespace: str) -> list[str]:
    """Return the words by which a program runs in a namespace."""
    return ["ip", "netns", "exec", namespace] if namespace else []


@dataclass(frozen=True)
class Host:
    """Where a program runs: a namespace, and the address and the interface that it has there."""

    namespace: str
    address: str
    interface: str

    def line(self, words: list[str]) -> list[str]:
        """Return the words that run a program here."""
        return [*inside(self.namespace), *words]


@dataclass(frozen=True)
class Path:
    """A wire: its server's host, and those of its clients."""

    server: Host
    clients: list[Host]


def _namespace(name: str) -> None:
    run(f"ip netns add {name}")
    run(f"ip -n {name} link set lo up")


def _up(namespace: str, interface: str, *addresses: str) -> None:
    for address in addresses:
        run(f"ip -n {namespace} address add {address}/16 dev {interface}")
    run(f"ip -n {namespace} link set {interface} up")
    run(f"ip -n {namespace} route add 224.0.0.0/4 dev {interface}")


def _ethtool(namespace: str, interface: str, *features: str) -> None:
    for feature in features:
        run(" ".join([*inside(namespace), "ethtool", "-K", interface, *feature.split()]))


def _address(number: int) -> str:
    return f"10.77.2.{number + 1}"


def loopback(clients: int) -> Path:
    """Have all on the loopback interface."""
    hosts = [Host("", f"127.77.2.{number + 1}", "lo") for number in range(clients)]
    return Path(Host("", "127.77.1.1", "lo"), hosts)


def _pair(clients: int) -> Path:
    _namespace("server")
    _namespace("client")
    run("ip link add va netns server type veth peer name vb netns client")
    addresses = [_address(number) for number in range(clients)]
    _up("server", "va", SERVER)
    _up("client", "vb", *addresses)
    return Path(Host("server", SERVER, "va"), [Host("client", each, "vb") for each in addresses])


def whole(clients: int) -> Path:
    """Make a veth pair: trains come as they were sent."""
    return _pair(clients)


def split(clients: int) -> Path:
    """Make a veth pair that splits trains before the receiver, as a network card does."""
    path = _pair(clients)
    _ethtool("server", "va", "tx-udp-segmentation off")
    return path


def gro(clients: int) -> Path:
    """Make the same, whose receiver's side joins what it can."""
    path = split(clients)
    _ethtool("client", "vb", "gro on", "rx-udp-gro-forwarding on")
    return path


def _bridge(clients: int, *, is_split: bool) -> Path:
    _namespace("bridge")
    run("ip -n bridge link add name br type bridge mcast_snooping 0")
    run("ip -n bridge link set dev br up")
    hosts = []
    for name, address in [("server", SERVER)] + [
        (f"client{number}", _address(number)) for number in range(clients)
    ]:
        _namespace(name)
        run(f"ip link add eth netns {name} type veth peer name {name} netns bridge")
        run(f"ip -n bridge link set {name} master br up")
        _up(name, "eth", address)
        if is_split:
            _ethtool(name, "eth", "tx-udp-segmentation off")
        hosts.append(Host(name, address, "eth"))
    return Path(hosts[0], hosts[1:])


def bridge(clients: int) -> Path:
    """Make a bridge, with all in namespaces of their own; trains stay whole."""
    return _bridge(clients, is_split=False)


def loss(clients: int) -> Path:
    """Make a bridge that gets trains split, and clients that lose 1 % of the packets each."""
    path = _bridge(clients, is_split=True)
    rule = "iptables -A INPUT -p udp -m statistic --mode random --probability 0.01 -j DROP"
    for host in path.clients:
        run(" ".join(host.line([rule])))
    return path


def remove() -> None:
    """Remove what a path was made of."""
    names = subprocess.run(["ip", "netns"], check=True, capture_output=True, text=True).stdout
    for line in names.splitlines():
        run(f"ip netns delete {line.split()[0]}")


KINDS: dict[str, Callable[[int], Path]] = {
    make.__name__: make for make in (loopback, whole, split, gro, bridge, loss)
}
