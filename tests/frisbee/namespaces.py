"""Hosts that share a switch: network namespaces joined by a bridge. Needs root, ip and iptables."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from array import array
from contextlib import contextmanager

from programs import program

SIOCETHTOOL, ETHTOOL_SGSO = 0x8946, 0x24


def missing():
    """What this machine lacks to make namespaces, or nothing."""
    if os.getuid():
        return "needs root to make network namespaces"
    lacking = [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]
    return f"needs {', '.join(lacking)}" if lacking else ""


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _segment_trains(name):
    """Have a device send the datagrams of a train one by one, as most network cards do."""
    value = array("I", [ETHTOOL_SGSO, 0])
    request = struct.pack("16sP16x", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)


class Switch:
    """A server (10.98.0.1) and clients (10.98.0.2...), each in a namespace of its own."""

    group, port = "234.5.6.7", 10001

    def __init__(self, clients):
        self.name = f"rh{os.getpid() % 100000}"
        self.hosts = [f"{self.name}-{number}" for number in range(clients + 1)]

    def __enter__(self):
        try:
            _ip("netns", "add", self.name)
            self.run(self.name, "ip", "link", "add", "sw", "type", "bridge", "mcast_snooping", "0")
            self.run(self.name, "ip", "link", "set", "sw", "up")
            for number, host in enumerate(self.hosts):
                self._plug(number, host)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (*self.hosts, self.name):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def run(self, namespace, *words):
        """Run a command on a host; return what it printed."""
        line = ["ip", "netns", "exec", namespace, *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout

    def _plug(self, number, host):
        _ip("netns", "add", host)
        self._connect(number, host)

    def _connect(self, number, host):
        outer, inner = f"{self.name}o{number}", f"{self.name}i{number}"
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        _segment_trains(inner)
        _ip("link", "set", outer, "netns", self.name)
        _ip("link", "set", inner, "netns", host)
        self.run(self.name, "ip", "link", "set", outer, "master", "sw", "up")
        self.run(host, "ip", "addr", "add", f"10.98.0.{number + 1}/24", "dev", inner)
        self.run(host, "ip", "link", "set", inner, "up")
        self.run(host, "ip", "route", "add", "224.0.0.0/4", "dev", inner)

    def split_trains(self):
        """Have each datagram of the server's be a packet, and be lost, by itself; needs ethtool."""
        host, device = self.hosts[0], f"{self.name}i0"
        self.run(host, "ethtool", "-K", device, "tx-udp-segmentation", "off")

    def lose(self, share):
        """Have each client lose a share of the datagrams that reach it."""
        rule = ["-A", "INPUT", "-p", "udp", "-m", "statistic", "--mode", "random"]
        for host in self.hosts[1:]:
            self.run(host, "iptables", *rule, "--probability", str(share), "-j", "DROP")

    def count_combined(self):
        """Count from now on what the server sends of subtype 64."""
        subtype = "0>>22&0x3C@12=0x40000000"  # of a little-endian number, behind the header of UDP
        rule = ("-A", "OUTPUT", "-p", "udp", "-m", "u32", "--u32", subtype)
        self.run(self.hosts[0], "iptables", *rule)

    def combined(self):
        """How many datagrams were counted."""
        *_, line = self.run(self.hosts[0], "iptables", "-nvxL", "OUTPUT").splitlines()
        return int(line.split()[0])

    def forget(self, seconds):
        """Pass the group on to its members only, and forget them after a while: nobody queries."""
        never, bridge = "1000000", ("ip", "link", "set", "dev", "sw", "type", "bridge")
        for host in self.hosts:  # who joins reports it again a little later
            for version in (2, 3):
                places = f"/proc/sys/net/ipv4/conf/*/igmpv{version}_unsolicited_report_interval"
                self.run(host, "sh", "-c", f"echo 100 | tee {places}")
        self.run(
            *(self.name, *bridge, "mcast_startup_query_count", "1"),
            *("mcast_query_interval", never, "mcast_startup_query_interval", never),
            *("mcast_querier_interval", never, "mcast_query_response_interval", "10"),
            *("mcast_membership_interval", str(100 * seconds)),
        )
        self.run(self.name, *bridge, "mcast_snooping", "1", "mcast_querier", "1")

    @contextmanager
    def without_interface(self, number):
        """Have the interface of a host down, and without its routes and address."""
        host, interface = self.hosts[number], f"{self.name}i{number}"
        self.run(host, "ip", "addr", "flush", "dev", interface)
        self.run(host, "ip", "link", "set", interface, "down")
        yield
        self.run(host, "ip", "link", "set", interface, "up")
        self.run(host, "ip", "addr", "add", f"10.98.0.{number + 1}/24", "dev", interface)
        self.run(host, "ip", "route", "add", "224.0.0.0/4", "dev", interface)

    @contextmanager
    def with_another_interface(self, number):
        """Have the interface of a host removed, and then another one of its name and address."""
        host = self.hosts[number]
        self.run(host, "ip", "link", "del", "dev", f"{self.name}i{number}")
        yield
        self._connect(number, host)

    def datagrams_sent(self, number=0):
        """How many UDP datagrams a host has sent; the server's is 0."""
        return self._count(number, "OutDatagrams")

    def overflowed(self, number):
        """How many datagrams found no room in a receive buffer of client ``number``."""
        return self._count(number, "RcvbufErrors")

    def _count(self, number, what):
        lines = self.run(self.hosts[number], "cat", "/proc/net/snmp").splitlines()
        names, values = (line.split() for line in lines if line.startswith("Udp:"))
        return int(dict(zip(names, values, strict=True))[what])

    def _start(self, number, name, *words, **pipes):
        session = ["-i", f"10.98.0.{number + 1}", "-m", self.group, "-p", str(self.port)]
        return self.started(number, name, *words, *session, stderr=subprocess.PIPE, **pipes)

    def started(self, number, name, *words, instead=(), **pipes):
        """Start a program of ours on a host, or another ``instead``."""
        line = ["ip", "netns", "exec", self.hosts[number], *(instead or program(name)), *words]
        return subprocess.Popen(line, **pipes)

    @contextmanager
    def serving(self, image, *options):
        with self._start(0, "frisbeed", "-d", *options, str(image)) as server:
            try:
                while not (line := server.stderr.readline()).startswith(b"Serving"):
                    assert line, server.wait()
                yield server
            finally:
                server.terminate()
                server.said = server.stderr.read().decode()

    def client(self, number, disk, *options, **pipes):
        """Start client ``number``, from 1 on."""
        return self._start(number, "frisbee", *options, str(disk), **pipes)
