"""Whole commands touch what users share by the one door only, `rhubarbe/shared`.

Watched are `state_dir`, the directories of images of two gateways, `config_dir`, and the directory
where a command runs, with its log, its report, its configuration, its inventory and its images.
Children that are no Python of ours are not seen: rsync, which is handed the open directory, or the
open image; the guardian, which imports nothing, and removes links by the path that the door has
opened before.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from emulated import start_testbed

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(300)]

WATCH = Path(__file__).parent / "watch"
PEER = """\
#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -o) shift 2;; *) break;; esac; done
shift
RHUBARBE_CONF={conf} exec sh -c "$*"
"""


class Gateway:
    """A testbed, a second gateway's directory of images, and a directory where commands run."""

    def __init__(self, testbed):
        self.testbed = testbed
        self.top = testbed.directory
        self.here = self.top / "here"
        (self.top / "state").chmod(0o1777 if os.getuid() == 0 else 0o755)
        self.there = self.top / "there"
        for place in (self.here, self.there):
            place.mkdir()
        inventory = (self.top / "inventory.json").rename(self.here / "inventory.json")
        text = (self.top / "rhubarbe.conf").read_text()
        text = text.replace(f"{self.top}/inventory.json", str(inventory))
        conf = self.here / "rhubarbe.conf"
        conf.write_text(f"{text}\n[leases]\nbackend = local\n")
        conf.chmod(0o600)
        other = self.top / "there.conf"
        other.write_text(text.replace(f"{self.top}/images", str(self.there)))
        other.chmod(0o600)
        self.peer = self.top / "peer"
        self.peer.write_text(PEER.format(conf=other))
        self.peer.chmod(0o755)
        self.seen = self.top / "seen"
        self.seen.touch()

    @property
    def environ(self):
        places = ("state", "images", "pxelinux.cfg", "here", "there")
        return {
            "PYTHONPATH": str(WATCH),
            "WATCHED": ":".join(str(self.top / place) for place in places),
            "SEEN": str(self.seen),
        }

    def run(self, *command):
        """Run a command here, and return what it says; it did well."""
        done = self.testbed.run(
            *("sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(self.here)),
            *command,
            **self.environ,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def acts(self):
        """Return what was seen since the last time: by the door, and around it."""
        lines = self.seen.read_text().splitlines()
        self.seen.write_text("")
        door = [line for line in lines if line.startswith("door ")]
        return door, [line for line in lines if line not in door]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    testbed = start_testbed(
        tmp_path_factory.mktemp("door"),
        *("--nodes", "2", "--boot-time", "0.3", "--sample-size", "4"),
    )
    yield Gateway(testbed)
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


# Each with a word of what the door must have done: else nothing was watched.
COMMANDS = {
    "book": (["rhubarbe-book", "+0h", "+4h"], "leases.sqlite"),
    "leases": (["rhubarbe-leases"], "leases.sqlite"),
    "load": (["rhubarbe-load", "--report", "report", "-i", "sample", "1"], "01-"),
    "load --wait": (["rhubarbe-load", "--wait", "--verify", "1"], "01-"),
    "wait": (["rhubarbe-wait", "1"], "rhubarbe.log"),
    "wait --image": (["rhubarbe-wait", "--image", "sample", "1"], "sample.ndz"),
    "save": (["rhubarbe-save", "-o", "mine", "1"], "mine.ndz.partial"),
    "images": (["rhubarbe-images", "--long", "--check"], "mine.ndz"),
    "images --json": (["rhubarbe-images", "--json", "--long", "--check"], "sample.ndz"),
    "resolve": (["rhubarbe-resolve", "--real", "mine", "sample"], "mine.ndz"),
    "completion": (["rhubarbe-completion", "images"], "here"),
    "share -n": (["rhubarbe-share", "-n", "mine"], "mine.ndz"),
    "share": (["rhubarbe-share", "mine", "-o", "ours", "-a", "new", "-c"], "ours.ndz"),
    "share -f": (["rhubarbe-share", "-f", "-o", "sample", "ours"], "sample.ndz"),
    "sync --push": (["rhubarbe-sync", "-e", "{peer}", "--push", "other"], "sample.ndz"),
    "sync --pull": (["rhubarbe-sync", "-e", "{peer}", "--pull", "other"], "sample.ndz.partial"),
    "rescue": (["rhubarbe-rescue", "2"], "link.fit02"),
    "rescue --list": (["rhubarbe-rescue", "--list", "1-2"], "01-"),
    "rescue --reset": (["rhubarbe-rescue", "--reset", "2"], "01-"),
    "history": (["rhubarbe-history"], "history.sqlite"),
    "nodes --image": (["rhubarbe-nodes", "--image", "sample", "1-2"], "history.sqlite"),
    "status": (["rhubarbe-status", "1-2"], "rhubarbe.log"),
    "config": (["rhubarbe-config"], "rhubarbe.conf"),
    "doctor": (["rhubarbe-doctor"], "pxefrisbee"),
    "inventory": (["rhubarbe-inventory"], "inventory.json"),
    "inventory --check": (["rhubarbe-inventory", "--check"], "inventory.json"),
    "config --check-state": (["rhubarbe-config", "--check-state"], "here"),
}


@pytest.fixture(scope="module")
def done(gateway):
    """What each of the commands did, one after the other."""
    told = {}
    for name, (command, _) in COMMANDS.items():
        if name.startswith("sync") and shutil.which("rsync") is None:
            continue
        if name == "sync --pull":
            (gateway.top / "images" / "sample.ndz").unlink()
        gateway.run(*(word.format(peer=gateway.peer) for word in command))
        told[name] = gateway.acts()
    return told


@pytest.mark.parametrize("name", COMMANDS)
def test_only_the_door_acts(done, name):
    if name not in done:
        pytest.skip("needs rsync")
    door, around = done[name]
    assert around == []
    assert any(COMMANDS[name][1] in line for line in door), door


def test_links_that_a_dead_command_left_are_swept_by_the_door(gateway, done):
    link = gateway.top / "pxelinux.cfg" / "01-02-00-00-00-00-99"
    link.symlink_to("pxefrisbee")
    place = gateway.top / "state" / str(os.getuid())
    (place / "link.fit02").write_text(
        json.dumps(
            {
                "node": "fit02",
                "path": str(link),
                "target": "pxefrisbee",
                "user": "me",
                "command": "load",
                "pid": 5,
                "start": "5",
                "boot": "the boot before",
                "since": 1e9,
                "expires": 1e9,
            }
        )
    )
    assert "removed the nextboot link of fit02" in gateway.run("rhubarbe-wait", "1")
    assert not link.is_symlink()
    door, around = gateway.acts()
    assert around == []
    assert any("os.remove" in line and link.name in line for line in door)


@pytest.mark.parametrize(
    "act",
    [
        "open('{top}/images/sample.ndz')",
        "__import__('os').stat('{top}/state')",
        "__import__('pathlib').Path('{top}/images').exists()",
        "__import__('os').listdir('{top}/pxelinux.cfg')",
        "__import__('os').rename('{top}/here/a', '{top}/here/b')",
        "__import__('os').readlink('a')",
        "__import__('shutil').copyfile('{top}/images/sample.ndz', '/dev/null')",
        "__import__('sqlite3').connect('{top}/state/x.sqlite')",
    ],
)
def test_what_goes_around_the_door_is_seen(gateway, act):
    code = act.format(top=gateway.top)
    elsewhere = str(Path(__file__).parents[2] / "rhubarbe" / "cli" / "x.py")
    script = f"try: eval(compile({code!r}, {elsewhere!r}, 'eval'))\nexcept OSError: pass"
    gateway.acts()
    gateway.run(sys.executable, "-c", script)
    assert len(gateway.acts()[1]) >= 1
