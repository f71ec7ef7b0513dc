"""What a wait tells meanwhile, and what else it can wait for."""

import shutil

import pytest
from emulated import events, start_testbed

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Five nodes, of which 5 is off."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("waiting"), *("--nodes", "5", "--boot-time", "0.5")
    )
    testbed.run("rhubarbe-off", "5")
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def test_it_tells_how_it_stands_without_details(site):
    done = site.run("rhubarbe-wait", "-t", "7", "1", "5")
    assert done.returncode == 1
    standing = "1 of 2 nodes ready; 5: nothing listens on the ssh port yet"
    assert done.stdout.count(standing) == 1
    assert "accepts ssh" not in done.stdout
    assert "fit05: nothing listens" not in done.stdout
    assert "fit05: nothing listens" in (site.directory / "rhubarbe.log").read_text()


def test_it_tells_details_when_asked(site):
    done = site.run("rhubarbe-wait", "-v", "1")
    assert done.returncode == 0
    assert "fit01: accepts ssh: SSH-2.0" in done.stdout


def test_it_waits_for_the_image(site):
    """Nodes run another system before the load than after it."""
    before = site.run("rhubarbe-wait", "-t", "3", "--image", "sample", "2-3")
    assert before.returncode == 1
    assert "ssh answers, but from image old" in before.stdout
    assert site.run("rhubarbe-load", "-i", "sample", "2").returncode == 0
    after = site.run("rhubarbe-wait", "--json", "--image", "default", "2")
    assert after.returncode == 0
    notes = [event["text"] for event in events(after.stdout) if event["event"] == "NodeNoted"]
    assert notes[-1].startswith("runs image sample")
    assert site.run("rhubarbe-wait", "--image", "old", "3").returncode == 0


def test_it_waits_for_the_ramdisk(site):
    assert site.run("rhubarbe-rescue", "4").returncode == 0
    assert site.run("rhubarbe-reset", "4").returncode == 0
    assert site.run("rhubarbe-wait", "-n", "4").returncode == 0
    assert site.run("rhubarbe-rescue", "--reset", "4").returncode == 0
    own = site.run("rhubarbe-wait", "--telnet", "-t", "3", "4")
    assert own.returncode == 1
    assert "fit04: FAILED in ramdisk: " in own.stdout


def test_it_waits_for_one_thing_only(site):
    done = site.run("rhubarbe-wait", "-n", "--image", "sample", "1")
    assert done.returncode == 2
    assert "not allowed with" in done.stderr
