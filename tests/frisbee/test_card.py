"""What the client says of a receive buffer, a ring or a card that is too small for it."""

import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import program

from rhubarbe.frisbee import card
from rhubarbe.frisbee.multicast import RECEIVE_BUFFER
from rhubarbe.ramdisk_builder.base import FILES

KERNELS_LIMIT = Path("/proc/sys/net/core/rmem_max")
IN_A_NAMESPACE = """
import subprocess
from rhubarbe.frisbee import card

for line in (
    "link set lo up",
    "link add v1 type veth peer name v2",
    "link add b1 type bridge",
    "address add 10.1.1.1/24 dev v1 label v1:a",
    "address add 10.1.1.2/24 dev v1",
    "address add 10.1.2.1/24 dev b1",
    "link set v1 up",
    "link set b1 up",
):
    subprocess.run(["ip", *line.split()], check=True)
for address in ("127.0.0.1", "10.1.1.1", "10.1.1.2", "10.1.2.1", "10.1.3.1"):
    name = card.name_of(address)
    print(name, card.is_card(name), card.ring_of(name))
"""


def hearing(buffer_bytes):
    """A channel of which only these two things are known."""
    session = SimpleNamespace(interface="10.77.0.5")
    return SimpleNamespace(buffer_bytes=buffer_bytes, session=session)


@pytest.fixture
def eth0(monkeypatch):
    """A card as the kernel tells of it: what it answers can be set."""
    answers = {"ring": (256, 4096), "gro": 1}

    def ask(name, question):
        assert name == "eth0"
        number = struct.unpack_from("I", question)[0]
        if number == 0x10 and answers["ring"]:
            current, most = answers["ring"]
            return struct.pack("9I", number, most, 1, 2, 3, current, 4, 5, 6)
        return struct.pack("2I", number, answers["gro"]) if number == 0x2B else None

    monkeypatch.setattr(card, "name_of", {"10.77.0.5": "eth0"}.get)
    monkeypatch.setattr(card, "is_card", lambda name: name == "eth0")
    monkeypatch.setattr(card, "_ask", ask)
    return answers


def test_a_ring_that_could_be_larger_is_told_with_the_command(eth0):
    assert card.advice(hearing(100), 100) == (
        "Blocks may get lost here: eth0 holds 256 packets, and could 4096;"
        " as root: ethtool -G eth0 rx 4096"
    )


def test_all_is_in_one_line(eth0):
    eth0["gro"] = 0
    assert card.advice(hearing(99), 100) == (
        "Blocks may get lost here: the receive buffer has 99 bytes, not 100, eth0 holds 256"
        " packets, and could 4096, eth0 hands over each packet by itself; as root:"
        " sysctl -w net.core.rmem_max=100 && ethtool -G eth0 rx 4096 && ethtool -K eth0 gro on"
    )


@pytest.mark.parametrize("ring", [(256, 256), (1024, 4096), (4096, 4096), None])
def test_nothing_is_said_where_all_is_well_or_cannot_be_better(eth0, ring):
    eth0["ring"] = ring
    assert not card.advice(hearing(100), 100)


def test_an_interface_without_a_device_is_not_told_of(eth0, monkeypatch):
    monkeypatch.setattr(card, "is_card", lambda name: False)
    assert not card.advice(hearing(100), 100)


def test_addresses_are_those_of_the_kernels_list():
    def entry(label, address):
        family = socket.AF_INET.to_bytes(2, sys.byteorder)
        return struct.pack("16s2s2x4s16x", label, family, socket.inet_aton(address))

    listed = entry(b"lo", "127.0.0.1") + entry(b"eth0:1", "10.0.0.7") + entry(b"eth0", "10.0.0.8")
    assert card.names_by_address(listed) == {
        "127.0.0.1": "lo",
        "10.0.0.7": "eth0",
        "10.0.0.8": "eth0",
    }


def test_the_kernels_answers_on_loopback():
    assert card.name_of("127.0.0.1") == "lo"
    assert not card.is_card("lo")
    assert card.ring_of("lo") is None
    assert card.ring_of("none") is None
    assert card.joins_packets("none") is None
    assert not card.name_of("203.0.113.77")


def test_interfaces_without_rings_are_no_error():
    apart = ["unshare", "-n" if os.getuid() == 0 else "-rn"]
    if not shutil.which("ip") or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("needs ip, and leave to make network namespaces")
    command = [*apart, sys.executable, "-c", IN_A_NAMESPACE]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "lo False None",
        "v1 False None",
        "v1 False None",
        "b1 False None",
        " False None",
    ]


@pytest.mark.parametrize("least", [False, True])
def test_a_buffer_that_the_kernel_does_not_give_is_said_by_the_client(least):
    """Without the privilege to take what it wants."""
    without = ["setpriv", "--bounding-set=-net_admin"] if os.getuid() == 0 else []
    limit = int(KERNELS_LIMIT.read_text())
    kib = 64 if least else 2 * limit >> 10
    words = ["-k", str(kib), "-i", "127.0.0.1", "-m", "234.5.6.78", "-p", "20477", "-T", "1"]
    done = subprocess.run(
        [*without, *program("frisbee"), *words, "-"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 110, done.stderr
    told = [line for line in done.stderr.splitlines() if "Blocks may get lost" in line]
    advice = (
        f"Blocks may get lost here: the receive buffer has {limit} bytes, not {kib << 10};"
        f" as root: sysctl -w net.core.rmem_max={kib << 10}"
    )
    assert told == ([] if least else [advice])


def test_the_ramdisk_allows_the_buffer_that_the_client_asks_for():
    assert f"echo {RECEIVE_BUFFER} > /proc/sys/net/core/rmem_max" in (FILES / "rc").read_text()
