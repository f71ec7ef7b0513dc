"""Which disk of a node is meant: said per node, found on the node, and refused where it is not."""

import hashlib
import json
import re

import pytest
from emulated import differing_blocks

from rhubarbe.testbed.sysfs import show_disk

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]
MIB = 1 << 20


@pytest.fixture
def testbed(make_testbed):
    return make_testbed("--nodes", "2", "--boot-time", "0.5")


def say(testbed, *lines):
    """Put lines into the configuration instead of hard_drive, and have partitions follow."""
    conf = testbed.directory / "rhubarbe.conf"
    text = re.sub(r"(?m)^hard_drive.*\n", "", conf.read_text())
    conf.write_text(text.replace("[frisbee]\n", "\n".join(["[frisbee]", *lines, ""])))


def second_disk(testbed, name, size, **values):
    """Give a node a second disk."""
    home = testbed.directory / "nodes" / name
    disk = home / "dev" / "sdb"
    with disk.open("wb") as file:
        file.truncate(size)
    show_disk(home, "sdb", size, 7, **values)
    return disk


def content(disk):
    return hashlib.sha256(disk.read_bytes()).digest()


def test_a_disk_that_is_not_there_is_refused_and_others_go_on(testbed):
    before = content(testbed.disk("fit01"))
    say(testbed, "hard_drive = dev/sda", "hard_drive.fit01 = /dev/nvme0n1")
    loaded = testbed.run("rhubarbe-load", "--verify", "1-2")
    assert loaded.returncode == 1, loaded.stdout
    assert "good: 2\n" in loaded.stdout
    assert (
        "bad: 1 (disk: hard_drive is /dev/nvme0n1;"
        " the node has sda (96 MiB, EMULATED DISK, serial EMU01A))\n"
    ) in loaded.stdout
    assert content(testbed.disk("fit01")) == before
    assert not (testbed.directory / "nodes/fit01/dev/nvme0n1").exists()
    assert differing_blocks(testbed.disk("fit02"), testbed.source) == []
    saved = testbed.run("rhubarbe-save", "1", "-o", "none")
    assert "(disk: hard_drive is /dev/nvme0n1; the node has sda (" in saved.stdout
    assert not list(testbed.directory.glob("none*"))


def test_the_second_disk_is_meant(testbed):
    first, second = testbed.disk("fit01"), second_disk(testbed, "fit01", 128 * MIB)
    before = content(first)
    inventory = testbed.directory / "inventory.json"
    entries = json.loads(inventory.read_text())
    entries[0]["disk"] = "serial=EMU07B"
    inventory.write_text(json.dumps(entries))
    loaded = testbed.run("rhubarbe-load", "1-2")
    assert loaded.returncode == 0, loaded.stdout
    assert "fit01: its disk is sdb (128 MiB, EMULATED DISK, serial EMU07B)" in loaded.stdout
    assert content(first) == before
    assert differing_blocks(second, testbed.source) == []
    assert differing_blocks(testbed.disk("fit02"), testbed.source) == []
    table = testbed.run("rhubarbe-inventory").stdout
    assert re.search(r"^1 .* serial=EMU07B$", table, re.M)
    say(testbed, "hard_drive.1 = size>=90M")
    wrong = testbed.run("rhubarbe-load", "1")
    assert "hard_drive is size>=90M: 2 disks of the node; it has sda (96 MiB, " in wrong.stdout


@pytest.mark.parametrize("client", ["frisbee", "echo"])
def test_a_disk_that_the_image_does_not_fit_is_refused_whatever_the_client(make_testbed, client):
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.5", "--fault", "fit01:disk-small")
    before = content(testbed.disk("fit01"))
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(conf.read_text().replace("client = frisbee", f"client = {client}"))
    loaded = testbed.run("rhubarbe-load", "1")
    assert loaded.returncode == 1
    assert "bad: 1 (disk: the disk is too small for the image: its partitions end" in loaded.stdout
    assert content(testbed.disk("fit01")) == before


def test_sectors_of_another_size_are_refused(testbed):
    second_disk(testbed, "fit01", 128 * MIB, sector_size=4096)
    say(testbed, "hard_drive = /dev/disk/by-path/pci-0000:00:1f.2-ata-2")
    loaded = testbed.run("rhubarbe-load", "1")
    assert "disk with sectors of 512 bytes, dev/sdb has sectors of 4096" in loaded.stdout


def test_values_for_nodes_are_shown_and_checked(testbed):
    say(testbed, "hard_drive.2 = smallest", "hard_drive = dev/sda")
    shown = testbed.run("rhubarbe-config", "frisbee").stdout
    assert re.search(r"^hard_drive\.2 = smallest +# .*rhubarbe.conf$", shown, re.M)
    assert testbed.run("rhubarbe-inventory", "--check").returncode == 0
    say(testbed, "hard_drive.fit70 = /dev/sdb")
    words = "(hard_drive.fit70): fit70 is no node of "
    for command in ("rhubarbe-config", "rhubarbe-load 1", "rhubarbe-nodes 1"):
        refused = testbed.run(*command.split())
        assert refused.returncode == 1
        assert words in refused.stderr
    checked = testbed.run("rhubarbe-inventory", "--check")
    assert (checked.returncode, words in checked.stdout) == (1, True)
    for nodes, lacking in (("1-12", "3-12 are no nodes"), ("1,7", "7 is no node")):
        say(testbed, f"hard_drive.{nodes} = /dev/sdb")
        refused = testbed.run("rhubarbe-nodes", "1")
        assert f"(hard_drive.{nodes}): {lacking} of " in refused.stderr
