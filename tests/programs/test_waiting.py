"""What a wait tells meanwhile, and what else it can wait for."""

import re
import shutil

import asyncssh
import pytest
from emulated import events, start_testbed
from golden import assert_golden, transcript, without_times

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Five nodes, of which 5 is off."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("waiting"), *("--nodes", "5", "--boot-time", "0.5")
    )
    testbed.run("rhubarbe-off", "5")
    testbed.run("rhubarbe-wait", "1-4")
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def test_what_is_told_meanwhile(site):
    """How many are ready and what the others answer, details only when asked."""
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(site.directory / "stranger")
    conf = (site.directory / "rhubarbe.conf").read_text()
    for key in ("stranger", "no-such-key"):
        (site.directory / f"{key}.conf").write_text(conf.replace("id_ed25519", key))
        (site.directory / f"{key}.conf").chmod(0o600)
    shown = transcript(
        site,
        "rhubarbe-wait -t 7 1 5",
        "rhubarbe-wait -v 1",
        "rhubarbe-wait -t 1 5",
        "sh -c 'rhubarbe-wait -n --image sample 1 2>&1 | tail -1'",
    )
    for key in ("stranger", "no-such-key"):
        other = str(site.directory / f"{key}.conf")
        shown += transcript(site, "rhubarbe-wait -t 30 1", RHUBARBE_CONF=other)
    # A machine that is very busy has one thing more to tell.
    shown = re.sub(r"TIME: 0 of 2 nodes ready.*\n", "", without_times(shown))
    assert_golden("wait/wait", shown)
    assert "fit05: nothing listens" in (site.directory / "rhubarbe.log").read_text()


@pytest.mark.full
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


@pytest.mark.full
def test_it_waits_for_the_ramdisk(site):
    assert site.run("rhubarbe-rescue", "4").returncode == 0
    assert site.run("rhubarbe-reset", "4").returncode == 0
    assert site.run("rhubarbe-wait", "-n", "4").returncode == 0
    assert site.run("rhubarbe-rescue", "--reset", "4").returncode == 0
    own = site.run("rhubarbe-wait", "--telnet", "-t", "3", "4")
    assert own.returncode == 1
    assert "fit04: FAILED in ramdisk: " in own.stdout
