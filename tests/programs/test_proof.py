"""Proof that the disk holds the image, and that the node runs it, in one command."""

import os
import re
import shutil

import pytest
from emulated import PARTITION, differing_blocks, tool

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


def test_verify_and_wait(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5")
    loaded = testbed.run("rhubarbe-load", "--verify", "--wait", "1-2")
    assert loaded.returncode == 0, loaded.stdout
    for name in ("fit01", "fit02"):
        assert re.search(rf"{name}: read back and compared \d{{7,}} bytes", loaded.stdout)
        assert re.search(rf"{name}: up for \d s, runs: ", loaded.stdout)
        assert differing_blocks(testbed.disk(name), testbed.source) == []


def configure(testbed, name, value):
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", conf.read_text()))


@pytest.mark.full
def test_a_node_that_boots_another_disk_is_bad(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5", "--fault", "fit02:other-disk")
    loaded = testbed.run("rhubarbe-load", "--retries", "0", "--wait", "1-2")
    assert loaded.returncode == 1, loaded.stdout
    assert "good: 1\n" in loaded.stdout
    assert re.search(
        r"^bad: 2 \(ssh: it runs another system than was loaded: .* image old .*;"
        r" the image has: .* image sample .*\)$",
        loaded.stdout,
        re.M,
    )


@pytest.mark.full
def test_a_node_that_boots_another_disk_once_is_loaded_again(make_testbed):
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.5", "--fault", "fit01:other-disk*1")
    loaded = testbed.run("rhubarbe-load", "--wait", "1")
    assert loaded.returncode == 0, loaded.stdout
    assert "fit01: round 2 begins" in loaded.stdout
    assert "image sample" in loaded.stdout


@pytest.mark.full
def test_a_load_that_went_to_another_disk_is_bad(make_testbed):
    """The node has two disks; the one that is configured is not the one that boots."""
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.5")
    assert testbed.run("rhubarbe-save", "-o", "mine", "1").returncode == 0
    testbed.run("rhubarbe-load", "1")
    second = testbed.directory / "nodes" / "fit01" / "dev" / "sdb"
    second.touch()
    os.truncate(second, testbed.source.stat().st_size)
    configure(testbed, "hard_drive", "dev/sdb")
    for root in (f"dev/sda?offset={PARTITION}", f"dev/sdb?offset={PARTITION}", "none"):
        configure(testbed, "root_partition", root)
        loaded = testbed.run("rhubarbe-load", "--retries", "0", "--wait", "-i", "mine", "1")
        assert loaded.returncode == 1, loaded.stdout
        assert re.search(
            r"^bad: 1 \(ssh: it runs another system than was loaded: .* image sample .*;"
            r" the image has: .* image mine .*\)$",
            loaded.stdout,
            re.M,
        )


def reimaged(testbed, name, *requests):
    """Make an image of the sample's disk, after some requests of debugfs."""
    disk = testbed.directory / f"{name}.img"
    shutil.copyfile(testbed.source, disk)
    for request in requests:
        tool("debugfs", "-w", "-R", request, f"{disk}?offset={PARTITION}")
    assert testbed.run("rhubarbe-imagezip", disk, f"{name}.ndz").returncode == 0
    return disk


@pytest.mark.full
def test_a_node_that_shows_a_stamp_where_the_image_has_none_is_bad(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5", "--fault", "fit02:other-disk")
    reimaged(testbed, "bare", "rm /etc/rhubarbe-image")
    loaded = testbed.run("rhubarbe-load", "--retries", "0", "--wait", "-i", "bare", "1-2")
    assert loaded.returncode == 1, loaded.stdout
    assert re.search(r"fit01: up for \d+ s, runs: an image without a stamp", loaded.stdout)
    assert "good: 1\n" in loaded.stdout
    assert re.search(
        r"^bad: 2 \(.* image old .*; the image has: an image without a stamp\)$",
        loaded.stdout,
        re.M,
    )


@pytest.mark.full
def test_an_image_that_cannot_be_read_is_proven_by_the_boot_only(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5")
    disk = reimaged(testbed, "unclean", "feature needs_recovery")
    loaded = testbed.run("rhubarbe-load", "--wait", "-i", "unclean", "1-2")
    assert loaded.returncode == 0, loaded.stdout
    told = "what the nodes run is proven by the time of their boot only: "
    assert loaded.stdout.count(told) == 1
    assert "unclean.ndz: a filesystem in it was not unmounted" in loaded.stdout
    for name in ("fit01", "fit02"):
        assert differing_blocks(testbed.disk(name), disk) == []


@pytest.mark.full
def test_verify_by_configuration_of_a_client_that_cannot(make_testbed):
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.5")
    conf = testbed.directory / "rhubarbe.conf"
    text = conf.read_text().replace("[frisbee]\n", "[frisbee]\nverify = yes\n")
    # A client that takes the option and never looks back.
    conf.write_text(text.replace("client = frisbee\n", "client = : ; echo\n"))
    loaded = testbed.run("rhubarbe-load", "--retries", "0", "1")
    assert loaded.returncode == 1
    assert re.search(r"^bad: 1 \(image: .* does not say that it verified\)$", loaded.stdout, re.M)


@pytest.mark.full
def test_wait_names_a_node_that_does_not_come_back(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5")
    conf = testbed.directory / "rhubarbe.conf"
    text = conf.read_text()
    conf.write_text(re.sub(r"wait_default_timeout = \d+", "wait_default_timeout = 4", text))
    (testbed.directory / "blank.img").write_bytes(bytes(4 << 20))
    testbed.run("rhubarbe-imagezip", "-r", "blank.img", "blank.ndz")
    loaded = testbed.run(
        *("rhubarbe-load", "--retries", "0", "--wait", "-i", "blank", "1"),
    )
    assert loaded.returncode == 1, loaded.stdout
    assert "bad: 1 (ssh: no proof over ssh that it runs the image in 4 s" in loaded.stdout


@pytest.mark.parametrize("content", [None, "", "no key", "-----BEGIN OPENSSH PRIVATE KEY-----\nx"])
def test_a_key_that_cannot_be_used_is_said_before_any_node_is_touched(twelve, content):
    conf = twelve.directory / "rhubarbe.conf"
    key = twelve.directory / "broken"
    other = twelve.directory / "broken.conf"
    key.unlink(missing_ok=True)
    if content is not None:
        key.write_text(content)
    other.write_text(re.sub(r"(?m)^ssh_key = .*$", f"ssh_key = {key}", conf.read_text()))
    other.chmod(0o600)
    by_ssh = twelve.directory / "by-ssh.conf"
    by_ssh.write_text(other.read_text().replace("[nodes]\n", "[nodes]\nramdisk_shell = ssh\n"))
    by_ssh.write_text(by_ssh.read_text().replace("ramdisk_shell = telnet\n", ""))
    before = twelve.log()
    for site, words in [
        (other, ("rhubarbe-load", "--wait", "1")),
        (by_ssh, ("rhubarbe-load", "1")),
        (by_ssh, ("rhubarbe-save", "-o", "never", "1")),
        (by_ssh, ("rhubarbe-rescue", "1")),
    ]:
        refused = twelve.run(*words, RHUBARBE_CONF=str(site))
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"{words[0]}: the ssh key {key} cannot be used: ")
    assert twelve.log() == before
    assert twelve.links() == []
    assert not (twelve.directory / "never.ndz").exists()
