"""The programs of the ramdisk: what they refuse, the faults they have, and the netcat."""

import asyncio
import math
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rhubarbe.testbed import node_programs
from rhubarbe.testbed.faults import Faults

LIMIT = 1 << 20


@pytest.fixture
def node(tmp_path):
    """A node's directory and environment, with a client that does as it is told."""
    home = tmp_path / "nodes" / "fit03"
    for name in ("dev", ".faults", "tmp"):
        (home / name).mkdir(parents=True)
    disk = tmp_path / "fit03.img"
    disk.write_bytes(bytes(4096))
    (home / "dev" / "sda").symlink_to(disk)
    node_programs.write(tmp_path / "ramdisk", fail_beyond=LIMIT)
    environment = {
        "PATH": str(tmp_path / "ramdisk" / "bin"),
        "NODE": "fit03",
        "NODE_IP": "127.0.0.3",
        "NODE_DIR": str(home),
        "NODE_DISK": str(disk),
    }

    def run(command, **options):
        return subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
            **{"check": False, "stdin": subprocess.DEVNULL} | options,
        )

    run.home, run.disk, run.bin = home, disk, tmp_path / "ramdisk" / "bin"
    return run


def replace_client(node, body):
    """Put a program in the place of the frisbee client, in the script that calls it."""
    stand_in = node.home / "stand-in"
    stand_in.write_text(f"#!/bin/bash\n{body}\n")
    stand_in.chmod(0o755)
    script = node.bin / "frisbee"
    real = node_programs._python("rhubarbe.frisbee.client", "frisbee")
    assert real in script.read_text()
    script.write_text(script.read_text().replace(real, str(stand_in)))


@pytest.mark.parametrize(
    "command",
    [
        "frisbee /dev/sda",
        "frisbee -m 234.5.6.7 -p 10001 /dev/sda",
        "frisbee -m 234.5.6.7 -p 10001 ../fit04/dev/sda",
        "frisbee -o/dev/sda",
        "cd / && frisbee dev/sda",
        "imagezip -o -z1 /dev/sda -",
        "imagezip -o -z1 dev/sda /tmp/out.ndz",
        "imagezip -o -z1 '/dev/sda?offset=1' -",
    ],
)
def test_what_lies_outside_the_node_is_refused(node, command):
    ended = node(command)
    assert ended.returncode == 1
    assert "is not on this node" in ended.stderr


def block_device():
    devices = [path for path in Path("/dev").iterdir() if path.is_block_device()]
    return devices[0] if devices else None


@pytest.mark.parametrize(
    "command",
    [
        "cat {device}",
        "tee {device} </dev/null",
        "cp dev/sda {device}",
        "head -c 1 {device}",
        "rm {device}",
        "debugfs -R stats {device}",
        "debugfs -w -R 'dump /x {device}' dev/sda",
        "echo 'open {device}' | debugfs -f -",
        "echo 'open {device}' >script; debugfs -f script",
    ],
)
def test_no_device_of_the_host_can_be_opened(node, command):
    device = block_device()
    if device is None:
        pytest.skip("this machine has no block device to refuse")
    ended = node(command.format(device=device))
    assert ended.returncode == 1
    assert f"{device} is not on this node" in ended.stderr


def test_the_path_holds_nothing_that_mounts_or_copies_raw(node):
    for name in ("mount", "dd", "umount", "mknod", "losetup", "python3", "sh", "sudo"):
        assert node(f"command -v {name}").returncode == 1


def test_the_client_gets_the_nodes_address_and_disk(node):
    replace_client(node, 'echo "$@"')
    assert node("frisbee -m 234.5.6.7 -p 10001 dev/sda").stdout == (
        "--as-device -i 127.0.0.3 -m 234.5.6.7 -p 10001 dev/sda\n"
    )
    assert node("frisbee -i 127.0.0.9 dev/sda").stdout == "--as-device -i 127.0.0.9 dev/sda\n"


@pytest.mark.parametrize(("times", "statuses"), [(1, [1, 0]), (math.inf, [1, 1])])
def test_a_client_fails_in_the_middle_of_the_image(node, times, statuses):
    replace_client(
        node,
        "echo 'Joined the team after 0 sec. ID is 1. File is 99 chunks (9 bytes)' >&2\n"
        "for n in {1..99}; do printf . >&2; sleep 0.002; done; echo whole",
    )
    left = Faults({"frisbee-fails": times}).left("frisbee-fails")
    (node.home / ".faults" / "frisbee-fails").write_text(f"{left}\n")
    ended = [node("frisbee dev/sda") for _ in statuses]
    assert [one.returncode for one in ended] == statuses
    assert "write error" in ended[0].stderr
    assert "." * 99 not in ended[0].stderr
    assert "whole" not in ended[0].stdout


def test_writes_to_the_disk_really_fail(node):
    replace_client(
        node, f"exec {sys.executable} -c \"open('dev/sda', 'r+b').truncate({2 * LIMIT})\""
    )
    (node.home / ".faults" / "disk-errors").write_text("1\n")
    failed = node("frisbee dev/sda")
    assert failed.returncode == 1
    assert "File too large" in failed.stderr
    assert node("frisbee dev/sda").returncode == 0
    assert (node.home / ".faults" / "happened").read_text() == "fit03 disk-errors\n"


def collect(listener, received):
    connection, peer = listener.accept()
    with connection:
        received["from"] = peer[0]
        received["bytes"] = b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_nc_sends_from_the_nodes_own_address(node):
    content = os.urandom(3 << 20)
    (node.home / "content").write_bytes(content)
    received = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        collector = threading.Thread(target=collect, args=(listener, received))
        collector.start()
        ended = node(f"cat content | nc 127.0.0.1 {listener.getsockname()[1]}")
        collector.join(10)
    assert ended.returncode == 0, ended.stderr
    assert received == {"from": "127.0.0.3", "bytes": content}


def test_nc_says_why_it_cannot_send(node):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refused = node(f"nc 127.0.0.1 {port}")
    assert refused.returncode == 1
    assert "Connection refused" in refused.stderr
    assert node("nc 127.0.0.1").returncode == 2


async def test_the_stamp_is_written_with_debugfs(site):
    await site.into_ramdisk("fit01")
    device = "'dev/sda?offset=1048576'"
    said = await site.type(
        "fit01",
        f"debugfs -R 'dump /etc/rhubarbe-image stamp' {device}; echo more >> stamp;"
        f" debugfs -w -R 'rm /etc/rhubarbe-image' {device};"
        f" debugfs -w -R 'write stamp /etc/rhubarbe-image' {device}; echo sta'tus'=$?; exit\n",
    )
    assert "status=0" in said
    await site.press("fit01", "reset")
    async with asyncio.timeout(10):
        answer = await site.ssh("fit01", "cat /etc/rhubarbe-image")
    assert answer.stdout.splitlines()[1:] == ["more"]
