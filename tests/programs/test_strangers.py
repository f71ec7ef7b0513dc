"""Whole loads with a third host beside them: each disk has the image, or its node is bad."""

import json
import os
import re
import subprocess
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import pytest
from emulated import BIN, PrivateTestbed, differing_blocks, events, start_testbed
from test_hosts import LACKING

pytestmark = [
    pytest.mark.full,
    pytest.mark.testbed,
    pytest.mark.timeout(280),
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to make network namespaces"),
    pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}"),
]

ROGUE = Path(__file__).with_name("rogue.py")
CHUNK = 1 << 20
GROUP, PORT = "234.5.6.1", "10001"
GATEWAY, STRANGER = "10.77.0.1", "10.77.99.9"
SEAL_CRC, SEAL_ID = 4040, slice(4048, 4064)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two hosts in the ramdisk, and one session for all loads, which the stranger knows."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("strangers"),
        *("--hosts", "2", "--boot-time", "0.2"),
        kind=PrivateTestbed,
    )
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(conf.read_text().replace("[networking]", "[networking]\npattern_size = 1"))
    rescued = testbed.run("rhubarbe-rescue", "1-2")
    assert rescued.returncode == 0, rescued.stdout + rescued.stderr
    forge(testbed)
    yield testbed
    testbed.end()


def forge(testbed):
    """Make an image of another disk, whose seals say that it is of the sample's."""
    disk = testbed.directory / "forged.img"
    content = bytearray(testbed.source.read_bytes())
    for at in range(0, len(content), 4096):
        if any(content[at : at + 4096]):
            content[at + 512 : at + 528] = b"EVILEVILEVILEVIL"
    disk.write_bytes(content)
    true = (testbed.directory / "images" / "sample.ndz").read_bytes()
    made = testbed.directory / "forged.ndz"
    subprocess.run([BIN / "rhubarbe-imagezip", "-r", disk, made], check=True, capture_output=True)
    forged = bytearray(made.read_bytes()[: len(true)].ljust(len(true), b"\0"))
    for start in range(0, len(forged), CHUNK):
        chunk = forged[start : start + CHUNK]
        chunk[SEAL_ID] = true[SEAL_ID]
        chunk[SEAL_CRC : SEAL_CRC + 4] = bytes(4)
        chunk[SEAL_CRC : SEAL_CRC + 4] = zlib.crc32(chunk).to_bytes(4, "little")
        forged[start : start + CHUNK] = chunk
    made.write_bytes(forged)
    disk.unlink()


@contextmanager
def stranger(testbed, mode):
    """Have a host of that kind on the network of the load."""
    image = testbed.directory / "forged.ndz"
    words = (sys.executable, ROGUE, mode, STRANGER, GROUP, PORT, image, GATEWAY, "0")
    process = testbed.start("unshare", "--net", *words)
    try:
        assert process.stdout.readline() == "here\n"  # in a namespace of its own
        plug = (
            f"ip link add evil type veth peer name eth0 netns {process.pid} &&"
            " ip link set evil master br0 up"
        )
        plugged = testbed.run("sh", "-c", plug)
        assert plugged.returncode == 0, plugged.stderr
        inside = ("nsenter", "-t", str(process.pid), "-n", "sh", "-c")
        up = (
            f"ip addr add {STRANGER}/16 dev eth0 && ip link set eth0 up &&"
            " ip route add 224.0.0.0/4 dev eth0"
        )
        subprocess.run([*inside, up], check=True)
        assert process.stdout.readline() == "up\n"
        yield process
        assert process.poll() is None, process.stdout.read()
    finally:
        process.kill()
        process.communicate()
        testbed.run("ip", "link", "del", "evil")


def load(testbed, *words, hosts=(1, 2)):
    """Load hosts that are in the ramdisk, and judge what came of it; return the events."""
    for number in hosts:
        spoil(testbed.disk(f"fit0{number}"))
    options = ("--json", "-n", "-t", "50", "-i", "sample", *words)
    done = testbed.run("rhubarbe-load", *options, *map(str, hosts), within=90)
    assert done.stdout, done.stderr
    told = events(done.stdout)
    (finished,) = [each for each in told if each["event"] == "Finished"]
    for node in finished["nodes"]:
        is_right = differing_blocks(testbed.disk(node["node"]), testbed.source) == []
        assert is_right or not node["ok"], node
        assert b"EVILEVIL" not in testbed.disk(node["node"]).read_bytes(), node
    assert (done.returncode == 0) == all(node["ok"] for node in finished["nodes"])
    return told


def spoil(disk):
    with disk.open("r+b") as stream:
        for at in range(CHUNK, 8 * CHUNK, CHUNK // 2):
            stream.seek(at)
            stream.write(b"old")


def nodes(told):
    (finished,) = [each for each in told if each["event"] == "Finished"]
    return finished["nodes"]


def test_without_strangers_nothing_is_said_of_any(site):
    told = load(site, "--verify")
    assert all(node["ok"] for node in nodes(told))
    assert not [each for each in told if each["event"] in ("StrangersSeen", "Notice")]


@pytest.mark.parametrize("mode", ["few", "blocks", "garbage"])
def test_blocks_in_the_name_of_the_server_are_not_written(site, mode):
    with stranger(site, mode):
        told = load(site, "--verify", "--retries", "0")
    seen = [each for each in told if each["event"] == "StrangersSeen"]
    assert {each["node"] for each in seen} <= {"fit01", "fit02"}
    assert len(seen) <= 2
    for each in seen:
        assert "the manifest does not vouch" in each["text"]
        assert GATEWAY in each["addresses"]
    if mode == "few":
        assert all(node["ok"] for node in nodes(told)), json.dumps(nodes(told), indent=1)


@pytest.mark.parametrize("mode", ["replay", "answers"])
def test_who_serves_from_another_address_is_named_and_changes_nothing(site, mode):
    with stranger(site, mode):
        told = load(site, "--retries", "0")
    seen = [each for each in told if each["event"] == "StrangersSeen"]
    assert sorted(each["node"] for each in seen) == ["fit01", "fit02"]
    assert all(STRANGER in each["addresses"] for each in seen)
    assert all(node["ok"] for node in nodes(told)), json.dumps(nodes(told), indent=1)


@pytest.mark.timeout(900)  # two minutes, on a machine that has nothing else to do
def test_fifty_loads_beside_a_wild_one(site):
    """Whatever it does, and whenever: no node is good whose disk is not."""
    good = 0
    with stranger(site, "wild"):
        for number in range(50):
            verify = ["--verify"] * (number % 3 == 0)
            told = load(site, "--retries", "0", *verify, hosts=(1 + number % 2,))
            good += sum(node["ok"] for node in nodes(told))
    assert good  # it did not keep all from being loaded


def test_a_client_that_knows_no_manifests_is_told_of_once(site):
    program = site.directory / "ramdisk" / "bin" / "older"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "if '--version' in sys.argv: sys.exit('frisbee: unrecognized option')\n"
        "assert '-S' in sys.argv and '--manifest' not in sys.argv\n"
        "os.execvp('frisbee', ['frisbee', *sys.argv[1:]])\n"
    )
    program.chmod(0o755)
    conf = site.directory / "rhubarbe.conf"
    before = conf.read_text()
    conf.write_text(re.sub(r"(?m)^client = .*$", "client = older", before))
    try:
        told = load(site)
    finally:
        conf.write_text(before)
    assert all(node["ok"] for node in nodes(told)), json.dumps(nodes(told))
    (notice,) = [each["text"] for each in told if each["event"] == "Notice"]
    assert "cannot be proven to be the image: older on the ramdisk is not ours" in notice
