"""Root's commands in directories that another user has prepared: they end, and touch nothing else.

An audit hook in each command tells of whatever is done below `state_dir` but through the one door.
"""

import json
import os
import shutil
import socket
import stat
import subprocess

import pytest
from emulated import differing_blocks, start_testbed, wait_for_event

pytestmark = [
    pytest.mark.testbed,
    pytest.mark.full,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users"),
]

ALICE = 4001
# Below state_dir only rhubarbe/shared may name a path; and SQLite opens no file at all.
HOOK = """
import os, sys
STATE = os.environ["WATCHED"]
ACTS = {"open", "os.listdir", "os.scandir", "os.rename", "os.remove", "os.mkdir", "os.rmdir",
        "os.link", "os.symlink", "os.chmod", "os.chown", "os.utime", "os.truncate"}

def hook(event, arguments):
    if event == "sqlite3.connect":
        wrong = arguments[0] != ":memory:"
    elif event in ACTS:
        wrong = any(
            str(os.fsdecode(each)).startswith(STATE + "/")
            for each in arguments
            if isinstance(each, str | bytes)
        )
    else:
        wrong = False
    if not wrong:
        return
    frame = sys._getframe()
    while frame is not None and "/rhubarbe/" not in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None or "/rhubarbe/shared/" not in frame.f_code.co_filename:
        where = frame.f_code.co_filename if frame else "?"
        os.write(2, f"AROUND THE DOOR: {event} {arguments[:2]} {where}\\n".encode())

sys.addaudithook(hook)
"""


def bind(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def brackets(path):
    path.write_bytes(b"[" * 60_000)


def huge(path):
    with path.open("wb") as stream:
        stream.truncate(1 << 34)


KINDS = {
    "link": lambda path, victim: path.symlink_to(victim),
    "dangling link": lambda path, victim: path.symlink_to(victim.with_name("nothing")),
    "link to itself": lambda path, _: path.symlink_to(path),
    "link to a device": lambda path, _: path.symlink_to("/dev/zero"),
    "second name": lambda path, victim: path.hardlink_to(victim),
    "pipe": lambda path, _: os.mkfifo(path),
    "directory": lambda path, _: path.mkdir(),
    "socket": lambda path, _: bind(path),
    "file of brackets": lambda path, _: brackets(path),
    "huge file": lambda path, _: huge(path),
}


class Gateway:
    """A testbed, and what alice has prepared on it."""

    def __init__(self, testbed):
        self.testbed = testbed
        self.top = testbed.directory
        self.state = self.top / "state"
        self.here = self.top / "shared"
        self.here.mkdir()
        for place in (self.state, self.here, self.top / "images"):
            place.chmod(0o1777)
        (self.top / "hook").mkdir()
        (self.top / "hook" / "sitecustomize.py").write_text(HOOK)
        self.victim = self.top / "victim"
        self.victim.write_text("precious")
        self.victim.chmod(0o600)
        self.laid = []

    def lay(self, kind, *paths):
        for path in paths:
            KINDS[kind](path, self.victim)
            if kind != "second name":
                os.chown(path, ALICE, ALICE, follow_symlinks=False)
            self.laid.append(path)

    def run(self, *command):
        """Run a command in alice's directory; return its exit code and what it says."""
        watched = {"PYTHONPATH": str(self.top / "hook"), "WATCHED": str(self.state)}
        conf = {"RHUBARBE_CONF": str(self.top / "rhubarbe.conf")}
        done = self.testbed.run(
            "sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(self.here), *command,
            **watched, **conf,
        )  # fmt: skip
        told = done.stdout + done.stderr
        assert "AROUND THE DOOR" not in told, told
        assert "Traceback" not in told
        assert "precious" not in told
        assert self.victim.read_text() == "precious"
        assert stat.S_IMODE(self.victim.stat().st_mode) == 0o600
        assert not (self.top / "nothing").exists()
        assert self.testbed.links() == []
        return done.returncode, told


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    testbed = start_testbed(
        tmp_path_factory.mktemp("hostile"),
        *("--nodes", "1", "--boot-time", "0.3", "--sample-size", "4"),
    )
    yield Gateway(testbed)
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_another_user_has_laid(gateway, kind):
    hers = gateway.state / str(ALICE)
    hers.mkdir(exist_ok=True)
    os.chown(hers, ALICE, ALICE)
    ours = [path for path in gateway.state.iterdir() if path.name.startswith("0")]
    gateway.lay(
        kind,
        *(hers / "history.sqlite", hers / "leases.sqlite", hers / "link.fit01"),
        *(gateway.here / "rhubarbe.log", gateway.here / "x.ndz.partial"),
        gateway.top / "images" / "y.ndz.partial",
        *([] if ours else [gateway.state / "0"]),
    )
    try:
        assert gateway.run("rhubarbe-wait", "-t", "30", "1")[0] == 0
        assert gateway.run("rhubarbe-history")[0] == 0
        assert gateway.run("rhubarbe-load", "-t", "30", "1")[0] == 0
        refused, told = gateway.run("rhubarbe-save", "-t", "30", "-o", "x", "1")
        assert refused == 1
        assert "x.ndz.partial" in told
        (gateway.here / "mine.ndz").write_bytes((gateway.top / "images/sample.ndz").read_bytes())
        (gateway.here / "second.ndz").hardlink_to(gateway.here / "mine.ndz")  # so it is copied
        refused, told = gateway.run("rhubarbe-share", "-o", "y", "mine")
        assert refused == 1
        assert "y.ndz.partial" in told
        gateway.run("rhubarbe-images", "--json")
        gateway.run("rhubarbe-config", "--check-state")
    finally:
        (gateway.here / "mine.ndz").unlink(missing_ok=True)
        (gateway.here / "second.ndz").unlink(missing_ok=True)
        for path in gateway.laid:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        gateway.laid.clear()


def test_an_image_that_is_swapped_after_its_check_is_not_loaded(gateway):
    image = gateway.here / "swapped.ndz"
    image.write_bytes((gateway.top / "images" / "sample.ndz").read_bytes())
    running = gateway.testbed.start(
        *("rhubarbe-load", "--json", "-i", str(image), "1"), stderr=subprocess.DEVNULL
    )
    with running:
        wait_for_event(running, "ImageChosen")
        image.unlink()
        image.symlink_to(gateway.victim)
        finished = json.loads(running.communicate(timeout=60)[0].splitlines()[-1])
    image.unlink()
    assert (finished["exit_code"], finished["good"]) == (0, "1")
    assert differing_blocks(gateway.testbed.disk("fit01"), gateway.testbed.source) == []


def test_the_hook_sees_what_goes_around_the_door(gateway):
    watched = {
        "PYTHONPATH": str(gateway.top / "hook"),
        "WATCHED": str(gateway.top / "images"),
        "RHUBARBE_CONF": str(gateway.top / "rhubarbe.conf"),
    }
    done = gateway.testbed.run("rhubarbe-images", "--check", **watched)
    assert "AROUND THE DOOR" in done.stderr
