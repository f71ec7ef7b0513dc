"""Hosts, with real telnetd and sshd: loaded, saved, switched; and nothing is left of them."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from emulated import (
    PrivateTestbed,
    differing_blocks,
    processes_of,
    start_testbed,
    wait_until,
)

LACKING = [
    path
    for path in ("/bin/busybox", "/usr/sbin/sshd", "/usr/bin/nsenter")
    if not Path(path).exists()
]
pytestmark = [
    pytest.mark.full,
    pytest.mark.testbed,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to make network namespaces"),
    pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}"),
]


@pytest.fixture
def make_hosts(tmp_path_factory):
    running = []

    def make(*options):
        directory = tmp_path_factory.mktemp("hosts")
        running.append(start_testbed(directory, *options, kind=PrivateTestbed))
        return running[-1]

    yield make
    for testbed in running:
        testbed.end()
        wait_until(lambda of=testbed.directory: processes_of(of) == [], within=5)


@pytest.fixture
def hosts(make_hosts):
    return make_hosts("--hosts", "2", "--boot-time", "0.3")


def test_twenty_hosts_are_loaded_and_wait_within_forty_seconds(make_hosts):
    testbed = make_hosts("--hosts", "20")
    begin = time.monotonic()
    loaded = testbed.run("rhubarbe-load", "-a")
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert "good: 1-20" in loaded.stdout
    assert time.monotonic() - begin < 40
    waited = testbed.run("rhubarbe-wait", "-v", "-a")
    assert waited.returncode == 0, waited.stdout + waited.stderr
    assert waited.stdout.count("accepts ssh: SSH-2.0-OpenSSH") == 20
    assert testbed.links() == []
    for number in range(1, 21):
        assert differing_blocks(testbed.disk(f"fit{number:02}"), testbed.source) == []


def test_save_and_prove_what_runs(hosts):
    saved = hosts.run("rhubarbe-save", "1", "-o", "mine", "-c", "of a host")
    assert saved.returncode == 0, (hosts.directory / "rhubarbe.log").read_text()
    loaded = hosts.run("rhubarbe-load", "-i", "mine", "--verify", "--wait", "2")
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert "node fit01 - image mine - by root - of a host" in loaded.stdout


def test_the_shell_is_that_of_busybox_telnetd_on_the_host_itself(hosts):
    assert hosts.run("rhubarbe-rescue", "1").returncode == 0
    assert hosts.run("rhubarbe-wait", "-n", "1").returncode == 0
    typed = 'echo "it=$(hostname)@$NODE_IP $0"; exit\n'
    script = (
        "import socket, sys\n"
        "s = socket.create_connection(('10.77.1.2', 23), 10)\n"
        f"s.sendall({typed!r}.encode())\n"
        "while piece := s.recv(4096): sys.stdout.write(piece.decode('latin-1'))\n"
    )
    said = hosts.run("python3", "-c", script, within=20).stdout
    assert "it=fit01@10.77.1.2 /" in said, said


def test_a_host_that_is_off_is_not_heard_of(hosts):
    assert hosts.run("rhubarbe-off", "1").returncode == 0
    assert hosts.ask_card("fit01", "status") == "off\n"
    script = "import socket; socket.create_connection(('10.77.1.2', 22), 1)"
    assert hosts.run("python3", "-c", script).returncode == 1
    assert hosts.run("rhubarbe-on", "1").returncode == 0
    assert hosts.run("rhubarbe-wait", "1").returncode == 0


def test_a_host_that_shuts_down_is_off(hosts):
    softly = hosts.run("rhubarbe-off", "--soft", "1")
    assert softly.returncode == 0, softly.stdout + softly.stderr
    assert "fit01 shuts down" in hosts.log()
    assert hosts.ask_card("fit01", "status") == "off\n"
    assert hosts.ask_card("fit02", "status") == "on\n"


def test_a_client_that_fails_on_a_host(make_hosts):
    testbed = make_hosts("--hosts", "2", "--boot-time", "0.3", "--fault", "fit02:frisbee-fails")
    loaded = testbed.run("rhubarbe-load", "--retries", "0", "-a")
    assert loaded.returncode == 1
    assert "good: 1\n" in loaded.stdout
    assert "bad: 2 (image: " in loaded.stdout


@pytest.mark.parametrize("while_loading", [False, True])
def test_nothing_is_left_of_a_testbed_that_was_killed(make_hosts, while_loading):
    testbed = make_hosts("--hosts", "3", "--boot-time", "0.3", "--sample-size", "24")
    inside = network_of(testbed.process.pid)
    if while_loading:
        loading = testbed.start("rhubarbe-load", "-a")
        for line in loading.stdout:
            if "Image server ready" in line:
                break
        loading.kill()
        loading.communicate()
    assert inside != network_of(os.getpid())
    testbed.process.kill()
    wait_until(lambda: processes_of(testbed.directory) == [], within=10)
    wait_until(lambda: inside not in all_networks(), within=10)


def network_of(process):
    return str(Path(f"/proc/{process}/ns/net").readlink())


def all_networks():
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.add(str((entry / "ns" / "net").readlink()))
            except OSError:
                continue
    return found


def test_a_command_runs_on_the_gateway(tmp_path):
    script = (
        'rhubarbe-status -a && cat "$RHUBARBE_CONF" | head -1; ls /sys >/dev/null; ip route; exit 3'
    )
    done = subprocess.run(
        ["rhubarbe-testbed", "--hosts", "2", "--boot-time", "0.1", "--", "sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert "1-2: on" in done.stdout
    assert "10.77.0.0/16 dev br0" in done.stdout


def test_what_cannot_happen_on_hosts_is_refused(tmp_path):
    command = ["rhubarbe-testbed", "--hosts", "1", "--fault", "fit01:telnet-drops", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "telnet-drops cannot be made to happen on hosts" in done.stderr


def test_the_ramdisk_behind_openssh(make_hosts):
    """The same shell by ssh: loaded, proven, and not taken for a ramdisk once it runs its disk."""
    hosts = make_hosts("--hosts", "2", "--boot-time", "0.3", "--ramdisk-shell", "ssh")
    loaded = hosts.run("rhubarbe-load", "--wait", "1-2")
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    for name in ("fit01", "fit02"):
        assert differing_blocks(hosts.disk(name), hosts.source) == []
    assert hosts.run("rhubarbe-save", "1", "-o", "mine").returncode == 0
    kept = hosts.disk("fit02").read_bytes()
    refused = hosts.run("rhubarbe-load", "-n", "--retries", "0", "2")
    assert refused.returncode == 1
    assert "fit02: FAILED in ramdisk: no answer on ssh in" in refused.stdout
    assert hosts.disk("fit02").read_bytes() == kept
