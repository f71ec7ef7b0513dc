"""Proof that the disk holds the image, and that the node runs it, in one command."""

import os
import re

import pytest
from emulated import PARTITION, differing_blocks

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
    second = testbed.directory / "nodes" / "fit01" / "dev" / "sdb"
    second.touch()
    os.truncate(second, testbed.source.stat().st_size)
    configure(testbed, "hard_drive", "dev/sdb")
    wrong = testbed.run("rhubarbe-load", "--retries", "0", "--wait", "1")
    assert wrong.returncode == 0, wrong.stdout  # nothing tells, but it is said
    assert "by the time of its boot only: root_partition is none of dev/sdb" in wrong.stdout
    configure(testbed, "root_partition", f"dev/sdb?offset={PARTITION}")
    loaded = testbed.run("rhubarbe-load", "--retries", "0", "--wait", "1")
    assert loaded.returncode == 1, loaded.stdout
    assert "bad: 1 (ssh: it runs another system than was loaded: " in loaded.stdout


@pytest.mark.full
def test_an_image_that_says_no_stamp_is_proven_by_the_boot_only(make_testbed):
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.5")
    configure(testbed, "root_partition", "dev/sda?offset=512")
    loaded = testbed.run("rhubarbe-load", "--wait", "1")
    assert loaded.returncode == 0, loaded.stdout
    assert "by the time of its boot only: no filesystem on dev/sda?offset=512" in loaded.stdout
    assert differing_blocks(testbed.disk("fit01"), testbed.source) == []


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
