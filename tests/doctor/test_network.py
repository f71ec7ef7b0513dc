"""What the kernel says of ways to nodes, in a network of its own: who is behind, and by what.

The programs of iproute2 lay the routes, and are asked the same.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
LACKING = [name for name in ("ip", "unshare") if shutil.which(name, path=SBIN) is None]
pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to make network namespaces"),
    pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}"),
]
# The nodes, 192.0.2.1 and 192.0.2.2, are on the network of `control`.
NETWORK = """\
ip link set lo up
for pair in "control 192.0.2.250/24" "other 198.51.100.1/24"; do
    set -- $pair
    ip link add $1 type veth peer name end-$1
    ip address add $2 dev $1
    ip link set $1 up
    ip link set end-$1 up
done
"""
LOOK = """\
import asyncio, json, sys
from absent import entry
from rhubarbe.config import Settings
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.doctor import network
from rhubarbe.doctor.site import Site
networking = NetworkingSettings(local_control_ip=sys.argv[1])
site = Site(Settings(networking=networking), [entry(1), entry(2)], 5.0)
(finding,) = asyncio.run(network.look(site))
print(json.dumps([finding.health, finding.text, finding.advice]))
"""
ASK = """\
import dataclasses, json, sys
from rhubarbe.gateway.checks.routes import route_towards
for words in json.loads(sys.argv[1]):
    try:
        print(json.dumps(dataclasses.astuple(route_towards(*words))))
    except OSError as error:
        print(json.dumps(error.strerror))
"""
REPOSITORY = Path(__file__).parents[2]


def inside(script, program, words):
    """Run a program of Python where a script for a shell has laid routes; return its lines."""
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "sh",
            "-ec",
            f'{NETWORK}{script}\nexec "$PYTHON" -c "$PROGRAM" "$WORDS"',
        ],
        env={
            **os.environ,
            "PATH": SBIN,
            "PYTHON": sys.executable,
            "PROGRAM": program,
            "WORDS": words,
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests/node'}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def looked(script, configured=""):
    (found,) = inside(script, LOOK, configured)
    return found


def test_where_all_is_as_it_should_be():
    assert looked("") == ["ok", "nodes reach us at 192.0.2.250", ""]


def test_images_that_leave_by_another_interface_are_told():
    """Our address is one, but the way to a node is not by the interface that has it."""
    health, text, advice = looked("ip route add 192.0.2.2 dev other src 192.0.2.250")
    group = re.search(r"234\.5\.6\.\d+", text)[0]
    assert (health, text) == (
        "wrong",
        f"images for {group} leave by control, which has 192.0.2.250, and the way to node 2 is by"
        " other",
    )
    assert advice.startswith(f"ip route get 192.0.2.2, and ip route get {group} from 192.0.2.250")


def test_a_route_to_the_group_elsewhere_leads_no_image_astray():
    """Who sends them says by which interface."""
    health, text, _ = looked("ip route add 224.0.0.0/4 dev other")
    assert (health, text) == ("ok", "nodes reach us at 192.0.2.250")


def test_a_router_is_found_in_any_table():
    health, text, _ = looked(
        "ip route add 192.0.2.2 via 198.51.100.7 src 192.0.2.250 table 100\n"
        "ip rule add to 192.0.2.2 lookup 100"
    )
    assert health == "wrong"
    assert text.startswith("the router 198.51.100.7 is on the way to node 2, and multicast does")


def test_an_address_of_another_interface_is_told():
    health, text, _ = looked("", "198.51.100.1")
    assert health == "wrong"
    assert "images would leave by another interface" in text


def test_the_kernel_says_what_ip_route_get_says():
    asked = [
        ["192.0.2.2"],
        ["203.0.113.9"],
        ["234.5.6.1", "198.51.100.1"],
        ["234.5.6.1", "192.0.2.250"],
        ["127.77.1.2"],
        ["203.0.114.9"],
        ["10.0.0.1"],
    ]
    script = (
        "ip route add 203.0.113.0/24 via 198.51.100.7\n"
        "ip route add unreachable 203.0.114.0/24\n"
        "for words in 192.0.2.2 203.0.113.9 '234.5.6.1 from 198.51.100.1'; do\n"
        "    ip -4 -json route get $words\n"
        "done"
    )
    *told, one, two, three, four, five, blackhole, nowhere = inside(script, ASK, json.dumps(asked))
    found = [one, two, three]
    assert found == [
        [each.get("dev"), each.get("prefsrc", each.get("from")), each.get("gateway", "")]
        for (each,) in told
    ]
    assert found == [
        ["control", "192.0.2.250", ""],
        ["other", "198.51.100.1", "198.51.100.7"],
        ["other", "198.51.100.1", ""],
    ]
    assert (four, five) == (["control", "192.0.2.250", ""], ["lo", "127.0.0.1", ""])
    assert (blackhole, nowhere) == ("No route to host", "Network is unreachable")
