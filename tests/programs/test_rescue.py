"""Rescue as a user types it: nodes stay in the ramdisk, until they are taken back."""

import json
import shutil
import signal
import subprocess

import pytest
from emulated import start_testbed, wait_for_event, wait_until
from golden import assert_golden, transcript

from rhubarbe.shared.trust import user_name

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Six nodes, of which 4 never comes back from a reset."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("rescue"),
        *("--nodes", "6", "--boot-time", "0.5", "--fault", "fit04:never-returns"),
    )
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_links(site):
    assert site.links() == []
    yield
    for path in (site.directory / "pxelinux.cfg").glob("01-*"):
        path.unlink()


def boots(site, node, before):
    """Return what a node has booted since `before`."""
    lines = site.log()[len(before) :].splitlines()
    return [line.split()[-1] for line in lines if f" {node} boots " in line]


def good(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_and_back(site):
    before = site.log()
    told = good(site.run("rhubarbe-rescue", "1-2"))
    assert "fit01: ramdisk: done" in told
    assert told.splitlines()[-2] == "good: 1-2"
    shown = transcript(
        site,
        "rhubarbe-rescue --list",
        "rhubarbe-rescue --list 2-3",
        "rhubarbe-rescue --list 3",
    )
    assert_golden("power/rescue", shown.replace(f"by {user_name()}", "by USER"))
    listed = json.loads(good(site.run("rhubarbe-rescue", "--list", "--json")))
    assert [(link["node"], link["entry"]) for link in listed] == [
        ("fit01", "pxefrisbee"),
        ("fit02", "pxefrisbee"),
    ]
    # It stays there: over a reset, and over the sweep of links that others left behind.
    good(site.run("rhubarbe-reset", "1"))
    wait_until(lambda: len(boots(site, "fit01", before)) == 2)
    assert boots(site, "fit01", before) == ["ramdisk", "ramdisk"]
    good(site.run("rhubarbe-wait", "3"))
    assert len(site.links()) == 2
    good(site.run("rhubarbe-rescue", "--reset", "1-2"))
    assert site.links() == []
    good(site.run("rhubarbe-wait", "1-2"))
    assert boots(site, "fit01", before)[2:] == ["disk"]
    assert good(site.run("rhubarbe-rescue", "-l")) == "no node boots the ramdisk\n"


@pytest.mark.full
def test_a_load_takes_a_rescued_node_back(site):
    good(site.run("rhubarbe-rescue", "3"))
    assert len(site.links()) == 1
    good(site.run("rhubarbe-load", "--wait", "3"))
    assert site.links() == []


def test_a_node_that_does_not_get_there_keeps_no_link(site):
    done = site.run("rhubarbe-rescue", "4", "5")
    assert done.returncode == 1
    assert "fit04: FAILED in ramdisk: no answer on telnet" in done.stdout
    assert "good: 5\nbad: 4" in done.stdout
    assert len(site.links()) == 1


def test_a_missing_boot_entry_is_said_before_anything_is_touched(site):
    entry = site.directory / "pxelinux.cfg" / "pxefrisbee"
    before = site.log()
    entry.rename(entry.with_name("elsewhere"))
    try:
        done = site.run("rhubarbe-rescue", "6")
    finally:
        entry.with_name("elsewhere").rename(entry)
    assert done.returncode == 1
    assert "no such boot entry" in done.stderr
    assert " card " not in site.log()[len(before) :]


@pytest.mark.full
def test_a_link_that_is_not_ours_is_left_alone(site):
    good(site.run("rhubarbe-rescue", "6"))
    (name,) = site.links()
    link = site.directory / "pxelinux.cfg" / name
    link.unlink()
    link.symlink_to("memtest")
    before = site.log()
    assert "fit06: boots memtest since " in good(site.run("rhubarbe-rescue", "--list", "6"))
    done = site.run("rhubarbe-rescue", "--reset", "6")
    assert done.returncode == 1
    assert "is not a link to pxefrisbee, and so not ours" in done.stdout
    assert " card " not in site.log()[len(before) :]
    link.unlink()
    good(site.run("rhubarbe-rescue", "--reset", "6"))


def test_what_others_have_made_is_listed_as_well(site):
    """By another program, for whatever boots; for a card that was exchanged; by hand, a file."""
    links = site.directory / "pxelinux.cfg"
    macs = {
        node["control"]["hostname"]: node["control"]["mac"].lower().replace(":", "-")
        for node in json.loads((site.directory / "inventory.json").read_text())
    }
    (links / f"01-{macs['fit01']}").symlink_to("memtest")
    (links / f"01-{macs['fit02']}").write_text("DEFAULT local")
    (links / "01-02-00-5e-00-00-99").symlink_to("pxefrisbee")
    (links / "01-02-00-5e-00-00-98").write_text("of the site")
    try:
        told = good(site.run("rhubarbe-rescue", "--list"))
        lines = [line.partition(" since ")[0] for line in told.splitlines()]
        assert lines == [
            "fit01: boots memtest",
            f"fit02: boots 01-{macs['fit02']}, which is no link,",
            f"{links}/01-02-00-5e-00-00-99, of no node: boots pxefrisbee",
        ]
        assert "fit01" not in good(site.run("rhubarbe-rescue", "--list", "2-3"))
        assert " of no node" not in good(site.run("rhubarbe-rescue", "--list", "2-3"))
    finally:
        for path in links.glob("01-*"):
            path.unlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_interrupted_no_link_stays(site, number):
    process = site.start("rhubarbe-rescue", "--json", "6", stderr=subprocess.DEVNULL)
    while wait_for_event(process, "PhaseStarted")["phase"] != "reset":
        pass
    process.send_signal(number)
    process.communicate(timeout=20)
    wait_until(lambda: site.links() == [])
