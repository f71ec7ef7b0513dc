"""Whether somebody serves DHCP on a network: asked of a real dnsmasq there, and of nobody."""

import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rhubarbe.setup import asking

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
LACKING = [name for name in ("ip", "dnsmasq", "unshare") if shutil.which(name, path=SBIN) is None]
NETWORK = """\
ip link set lo up
ip link add here type veth peer name there
ip address add 10.9.0.2/24 dev here
ip address add 10.9.0.1/24 dev there
ip link set here up
ip link set there up
exec "$@"
"""
ASK = (
    "import time\nfrom rhubarbe.setup.asking import who_serves_dhcp\nbegin = time.monotonic()\n"
    "print(who_serves_dhcp('here') or 'nobody', time.monotonic() - begin < 2.9)\n"
    "print(who_serves_dhcp('lo') or 'nobody')\n"
)
SERVE = (
    "dnsmasq --port=0 --interface=there --bind-interfaces --conf-file=/dev/null --pid-file="
    " --dhcp-range=10.9.0.50,10.9.0.60 --dhcp-leasefile=/dev/null --user=root --no-ping"
)


def asked(script):
    """Run a script for a shell in a network of its own; return what it printed."""
    words = ["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", NETWORK, "sh"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*words, "sh", "-ec", script, "sh", sys.executable, ASK],
        env={**os.environ, "PATH": SBIN, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.full
@pytest.mark.skipif(os.getuid() != 0, reason="needs root to make network namespaces")
@pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}")
def test_a_real_server_is_heard_and_where_there_is_none_nobody():
    assert asked(f'{SERVE}; "$1" -c "$2"') == ["10.9.0.1 True", "nobody"]
    assert asked('"$1" -c "$2"') == ["nobody False", "nobody"]


def frame(number=b"abcd", kind=2, message=2, port=67, magic=b"\x63\x82\x53\x63", tail=b"\xff"):
    options = bytes([53, 1, message, 54, 4, 10, 0, 0, 1]) + tail
    body = struct.pack("!4B4s228x", kind, 1, 6, 0, number) + magic + options
    datagram = struct.pack("!4H", port, 68, 8 + len(body), 0) + body
    head = struct.pack("!2B3H2BH4s4s", 0x45, 0, 0, 0, 0, 64, 17, 0, b"\x0a\0\0\x09", b"\xff" * 4)
    return bytes(14) + head + datagram


def test_an_offer_that_answers_us_names_its_server():
    assert asking.offered_by(frame(), b"abcd") == "10.0.0.1"


@pytest.mark.parametrize(
    "heard",
    [
        frame(number=b"dcba"),
        frame(kind=1),
        frame(message=5),
        frame(port=68),
        frame(magic=b"none"),
        frame()[:60],
        frame()[:14],
        b"",
        frame()[:250],
    ],
)
def test_whatever_else_is_heard_is_none(heard):
    assert asking.offered_by(heard, b"abcd") == ""


@pytest.mark.parametrize("tail", [b"", b"\0" * 9, b"\x0c", b"\x0c\xff", b"\x0c\xff\0", bytes(999)])
def test_options_that_are_cut_short_or_go_on_for_ever(tail):
    begin = time.monotonic()
    assert asking.offered_by(frame(tail=tail), b"abcd") == "10.0.0.1"
    assert time.monotonic() - begin < 60
