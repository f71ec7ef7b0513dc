"""The ramdisk behind ssh instead of telnet: load, save, wait, rescue, and what goes wrong."""

import json
import re
import shutil
import signal
import subprocess

import asyncssh
import pytest
from emulated import differing_blocks, processes_on_nodes, start_testbed, wait_for_event
from test_ways_out import children, gone_within

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Four nodes whose ramdisk is reached by ssh; the session of 3 is cut once."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("ssh"),
        *("--nodes", "4", "--boot-time", "0.5", "--ramdisk-shell", "ssh"),
        *("--fault", "fit03:telnet-drops*1"),
    )
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def good(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_load_wait_save_load(site):
    told = good(site.run("rhubarbe-load", "-i", "sample", "1-3", "--wait"))
    assert "good: 1-3" in told
    assert "fit03: round 2 begins, after image: the ssh session was cut" in told, told
    for number in (1, 2, 3):
        assert differing_blocks(site.disk(f"fit{number:02}"), site.source) == []
    good(site.run("rhubarbe-wait", "1-3"))
    good(site.run("rhubarbe-save", "2", "-o", "mine", "-c", "it's; $(mine)"))
    good(site.run("rhubarbe-load", "-i", "mine", "4", "--wait"))
    stamps = good(site.run("rhubarbe-status", "--image", "-v", "4"))
    assert "mine" in stamps
    assert site.links() == []


@pytest.mark.full
def test_rescue_and_wait_for_the_ramdisk(site):
    good(site.run("rhubarbe-rescue", "1"))
    good(site.run("rhubarbe-wait", "-n", "1"))
    good(site.run("rhubarbe-load", "-n", "1"))
    assert differing_blocks(site.disk("fit01"), site.source) == []
    good(site.run("rhubarbe-rescue", "--reset", "1"))


@pytest.mark.full
def test_a_system_that_runs_from_its_disk_is_no_ramdisk(site):
    own = site.run("rhubarbe-wait", "-n", "-t", "3", "2")
    assert own.returncode == 1
    assert "fit02: FAILED in ramdisk: " in own.stdout
    conf = (site.directory / "rhubarbe.conf").read_text()
    hasty = site.directory / "hasty.conf"
    hasty.write_text(re.sub(r"(?m)^timeout_before_telnet = .*", "timeout_before_telnet = 8", conf))
    kept = site.disk("fit02").read_bytes()
    load = site.run("rhubarbe-load", "-n", "--retries", "0", "2", RHUBARBE_CONF=str(hasty))
    assert load.returncode == 1
    assert "fit02: FAILED in ramdisk: no answer on ssh in 8 s (ssh not ready: " in load.stdout
    assert site.disk("fit02").read_bytes() == kept


def test_a_key_that_the_ramdisk_does_not_know_is_said(site, tmp_path):
    key = tmp_path / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    conf = (site.directory / "rhubarbe.conf").read_text()
    other = tmp_path / "rhubarbe.conf"
    conf = re.sub(r"(?m)^ssh_key = .*", f"ssh_key = {key}", conf)
    other.write_text(re.sub(r"(?m)^timeout_before_telnet = .*", "timeout_before_telnet = 20", conf))
    load = site.run("rhubarbe-load", "--retries", "0", "4", RHUBARBE_CONF=str(other))
    assert load.returncode == 1
    assert "ssh refuses to let root in" in load.stdout


def with_false_key(site, tmp_path, setting):
    """Return a configuration in which nodes are known by a key that none has."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known = tmp_path / "known"
    known.write_text(f"* {key}")
    conf = tmp_path / "rhubarbe.conf"
    text = (site.directory / "rhubarbe.conf").read_text()
    conf.write_text(text.replace("[networking]", f"[networking]\n{setting} = {known}"))
    return str(conf)


def test_who_is_not_the_ramdisk_by_its_key_is_not_waited_for(site, tmp_path):
    conf = with_false_key(site, tmp_path, "ramdisk_known_hosts")
    load = site.run("rhubarbe-load", "--report", str(tmp_path / "report"), "4", RHUBARBE_CONF=conf)
    assert load.returncode == 1
    assert "fit04: FAILED in ramdisk: its host key is SHA256:" in load.stdout
    (node,) = json.loads((tmp_path / "report").read_text())["nodes"]
    assert node["attempts"] == 1
    assert "FAILED in ramdisk: no answer" not in load.stdout


def test_what_is_on_the_disk_of_whom_a_key_gives_the_lie_to_is_not_known(site, tmp_path):
    good(site.run("rhubarbe-load", "-i", "sample", "1", "--wait"))
    conf = with_false_key(site, tmp_path, "known_hosts")
    status = site.run("rhubarbe-status", "--image", "-v", "1", RHUBARBE_CONF=conf)
    assert status.returncode == 1
    assert "fit01: its host key is SHA256:" in status.stdout + status.stderr
    waited = site.run("rhubarbe-wait", "1", RHUBARBE_CONF=conf)
    assert "fit01: FAILED in ssh: its host key is SHA256:" in waited.stdout


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_in_the_middle_nothing_is_left(site, number):
    process = site.start("rhubarbe-load", "--json", "-b", "1", "1-2", stderr=subprocess.DEVNULL)
    wait_for_event(process, "Progress")
    pids = children(process.pid) + processes_on_nodes(site)
    assert processes_on_nodes(site)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert gone_within(pids, 10) == []
    assert processes_on_nodes(site) == []
    assert site.links() == []
