"""Proof that the disk holds the image, and that the node runs it, in one command."""

import re

import pytest
from emulated import differing_blocks

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


def test_verify_and_wait(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5")
    loaded = testbed.run("rhubarbe-load", "--verify", "--wait", "1-2")
    assert loaded.returncode == 0, loaded.stdout
    for name in ("fit01", "fit02"):
        assert re.search(rf"{name}: read back and compared \d{{7,}} bytes", loaded.stdout)
        assert re.search(rf"{name}: up for \d s, runs: ", loaded.stdout)
        assert differing_blocks(testbed.disk(name), testbed.source) == []


def test_verify_by_configuration_of_a_client_that_cannot(make_testbed):
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.5")
    conf = testbed.directory / "rhubarbe.conf"
    text = conf.read_text().replace("[frisbee]\n", "[frisbee]\nverify = yes\n")
    # A client that takes the option and never looks back.
    conf.write_text(text.replace("client = frisbee\n", "client = : ; echo\n"))
    loaded = testbed.run("rhubarbe-load", "--retries", "0", "1")
    assert loaded.returncode == 1
    assert re.search(r"^bad: 1 \(image: .* does not say that it verified\)$", loaded.stdout, re.M)


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
