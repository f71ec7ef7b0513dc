"""Root's commands in directories that another user has prepared: they end, and touch nothing else.

A table of ways (`hostile.py`: what alice lays under all the names that commands look for) by verbs.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emulated import differing_blocks, start_testbed, wait_for_event
from hostile import ALICE, ESCAPES, SECRET, WAYS, Laid, changing
from test_door import PEER

pytestmark = [
    pytest.mark.testbed,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users"),
]

WITHIN = 60
# What each verb may end with, run by root in alice's directory, whatever she has laid there: what
# concerns nobody but her goes well; what would need a thing of hers is refused, or she is told of.
VERBS = {
    "wait": ("rhubarbe-wait -t 40 1", {0}),
    "load": ("rhubarbe-load -t 40 2", {0}),
    "load hers": ("rhubarbe-load -t 40 -i hers 3", {1}),
    "load hers here": ("rhubarbe-load -t 40 -i ./hers 3", {1}),
    "save": ("rhubarbe-save -t 40 -o x 4", {1}),
    "share": ("rhubarbe-share -o y mine", {1}),
    "share hers": ("rhubarbe-share -f -o shared hers", {1}),
    "share as hers": ("rhubarbe-share -n -o hers mine", {0, 1}),
    "sync": ("rhubarbe-sync -e {top}/peer --pull other z", {1}),
    "images": ("rhubarbe-images --long --check", {0, 1}),
    "images --json": ("rhubarbe-images --json", {0}),
    "resolve": ("rhubarbe-resolve -r hers", {0, 1}),
    "leases": ("rhubarbe-leases", {0}),
    "history": ("rhubarbe-history", {0}),
    "rescue --list": ("rhubarbe-rescue --list 1-4", {0}),
    "config": ("env -u RHUBARBE_CONF rhubarbe-config", {0, 1}),
    "config --check-state": ("rhubarbe-config --check-state", {0, 1}),
    "doctor": ("rhubarbe-doctor", {0, 1}),
    "report": ("rhubarbe-status --report report 1", {0, 1}),
}
QUICK = ("link to a secret", "pipe")
ways = pytest.mark.parametrize(
    "way", [way if way in QUICK else pytest.param(way, marks=pytest.mark.full) for way in WAYS]
)


class Gateway:
    """A testbed that alice may write into, and the canaries outside."""

    def __init__(self, testbed):
        self.testbed = testbed
        self.top = top = testbed.directory
        self.here, self.state, self.images = top / "shared", top / "state", top / "images"
        self.hers = self.state / str(ALICE)
        for place in (self.here, top / "there", top / "canaries", self.hers):
            place.mkdir(parents=True, exist_ok=True)
        for place in (self.state, self.here, self.images):
            place.chmod(0o1777)
        os.chown(top / "pxelinux.cfg", -1, ALICE)
        (top / "pxelinux.cfg").chmod(0o2775)
        os.chown(self.hers, ALICE, ALICE)
        for above in self.here.parents[:-2]:  # not what is everybody's: the root, and /tmp
            above.chmod(0o755)
        self._prepare_commands()
        self.victim = top / "canaries" / "secret"
        self.victim.write_text(SECRET)
        self.victim.chmod(0o600)
        (top / "canaries" / "public").write_text("for all to read")

    def _prepare_commands(self):
        top = self.top
        for image in (self.here / "mine.ndz", top / "there" / "z.ndz"):
            shutil.copy(self.images / "sample.ndz", image)
        # So that it has to be copied: its owner could go on writing into it.
        os.chown(self.here / "mine.ndz", 4002, 4002)
        conf = (top / "rhubarbe.conf").read_text()
        (top / "there.conf").write_text(conf.replace(str(self.images), f"{top}/there"))
        (top / "there.conf").chmod(0o600)
        (top / "rhubarbe.conf").write_text(f"{conf}\n[leases]\nbackend = local\n")
        (top / "peer").write_text(PEER.format(conf=top / "there.conf"))
        (top / "peer").chmod(0o755)
        self.testbed.run("rhubarbe-book", "+0h", "+9h")
        entries = json.loads((top / "inventory.json").read_text())
        mac = entries[3]["control"]["mac"].lower().replace(":", "-")
        self.link = top / "pxelinux.cfg" / f"01-{mac}"

    def names(self):
        """The names that commands look for, and that alice can have."""
        return [
            *(self.hers / name for name in ("history.sqlite", "leases.sqlite", "link.fit01")),
            *(self.here / name for name in ("rhubarbe.log", "rhubarbe.conf", "x.ndz.partial")),
            *(self.here / "hers.ndz", self.images / "hers.ndz"),
            *(self.images / "y.ndz.partial", self.images / "z.ndz.partial"),
            self.images / "shared.ndz.partial",
            self.link,
        ]

    def run(self, verb):
        """Run a verb in alice's directory; return how it ended, and what it said."""
        words = VERBS[verb][0].format(top=self.top).split()
        done = self.testbed.run(
            *("sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(self.here)),
            *words,
            within=WITHIN,
            RHUBARBE_CONF=str(self.top / "rhubarbe.conf"),
        )
        return verb, done.returncode, done.stdout, done.stderr

    def run_all(self):
        """Run all verbs, some at a time, and judge each."""
        with ThreadPoolExecutor(4) as pool:
            for verb, code, said, complained in pool.map(self.run, VERBS):
                told = f"{verb}: exit {code}\n{said}{complained}"
                assert code in VERBS[verb][1], told
                assert "Traceback" not in told, told
                assert SECRET not in told, told
                assert len(complained.splitlines()) <= (4 if code else 8), told
                for line in told.splitlines():
                    assert line.isprintable(), told
                    assert len(line) < 1500, told

    def canaries(self):
        """A digest of all that is not to be touched."""
        found = hashlib.sha256()
        for path in sorted((self.top / "canaries").rglob("*")):
            status = path.lstat()
            found.update(f"{path} {status.st_mode} {status.st_uid} {status.st_mtime_ns}".encode())
            found.update(path.read_bytes())
        return found.hexdigest()

    def leaks(self):
        """Return the files that alice can read, and that have what only root may."""
        found = []
        for place in (self.state, self.here, self.images, self.top / "pxelinux.cfg"):
            for path in place.rglob("*"):
                status = path.lstat()
                is_small = stat.S_ISREG(status.st_mode) and status.st_size < 1 << 26
                is_hers = status.st_uid == ALICE or status.st_mode & stat.S_IROTH
                if is_small and is_hers and SECRET.encode() in path.read_bytes():
                    found.append(path)
        return found

    def links(self):
        return [name for name in self.testbed.links() if name != self.link.name]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    testbed = start_testbed(
        tmp_path_factory.mktemp("hostile"),
        *("--nodes", "4", "--boot-time", "0.3", "--sample-size", "4"),
    )
    yield Gateway(testbed)
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.fixture
def unharmed(gateway):
    """Whatever was tried: nothing outside changed, and nothing leaked; what commands left goes."""
    before = gateway.canaries(), set(gateway.here.iterdir()), set(gateway.images.iterdir())
    yield gateway
    assert gateway.canaries() == before[0]
    assert gateway.leaks() == []
    assert gateway.links() == []
    left = (set(gateway.here.iterdir()) | set(gateway.images.iterdir())) - before[1] - before[2]
    assert {path.name for path in left} <= {"report"}
    for path in left:
        path.unlink()


@ways
def test_whatever_another_user_has_laid(unharmed, way):
    with Laid(way, unharmed.names(), unharmed.victim) as laid:
        unharmed.run_all()
        laid.assert_untouched()


@pytest.mark.full
def test_what_another_user_changes_all_the_time(unharmed, monkeypatch):
    for verb in ("load hers", "load hers here", "save", "share", "share hers", "sync"):
        monkeypatch.setitem(VERBS, verb, (VERBS[verb][0], {0, 1}))
    with changing(unharmed.names(), unharmed.victim):
        unharmed.run_all()
    for name in ("x.ndz", "y.ndz", "z.ndz", "shared.ndz"):
        for place in (unharmed.here, unharmed.images):
            for each in (place / name, place / f"{name}.partial"):
                each.unlink(missing_ok=True)
    (unharmed.here / "rhubarbe.log").unlink(missing_ok=True)


@pytest.mark.full
def test_names_that_say_something_else(unharmed):
    names = [ESCAPES.replace("/", ""), "new\nline", "\udcff\udcfe", "-rf", ".", "x" * 240, "a b;c"]
    for place in (unharmed.here, unharmed.images, unharmed.hers, unharmed.state):
        for name in names:
            file = place / f"{name}.ndz"
            file.write_bytes(b"x")
            os.chown(file, ALICE, ALICE)
    for name in names:
        (unharmed.hers / f"link.{name}").write_bytes(b"{}")
    try:
        with Laid("empty file", unharmed.names(), unharmed.victim):
            unharmed.run_all()
    finally:
        for place in (unharmed.here, unharmed.images, unharmed.hers, unharmed.state):
            for name in names:
                (place / f"{name}.ndz").unlink()
        for name in names:
            (unharmed.hers / f"link.{name}").unlink()


@pytest.mark.full
def test_thousands_of_names(unharmed):
    made = []
    for place in (unharmed.here, unharmed.images, unharmed.state, unharmed.hers):
        for number in range(3000):
            made.append(place / f"link.{number}.ndz")
            made[-1].touch()
            os.chown(made[-1], ALICE, ALICE)
    try:
        with Laid("dangling link", unharmed.names(), unharmed.victim):
            assert unharmed.run("wait")[1] == 0
            assert unharmed.run("history")[1] == 0
            assert unharmed.run("load hers")[1] == 1
    finally:
        for path in made:
            path.unlink()


def test_an_image_that_is_swapped_after_its_check_is_not_loaded(unharmed):
    image = unharmed.here / "swapped.ndz"
    image.write_bytes((unharmed.images / "sample.ndz").read_bytes())
    running = unharmed.testbed.start(
        *("rhubarbe-load", "--json", "-i", str(image), "1"), stderr=subprocess.DEVNULL
    )
    with running:
        wait_for_event(running, "ImageChosen")
        image.unlink()
        image.symlink_to(unharmed.victim)
        finished = json.loads(running.communicate(timeout=60)[0].splitlines()[-1])
    image.unlink()
    assert (finished["exit_code"], finished["good"]) == (0, "1")
    assert differing_blocks(unharmed.testbed.disk("fit01"), unharmed.testbed.source) == []


@pytest.mark.parametrize("whose", ["a directory of hers", "the repository"])
def test_a_directory_of_images_that_is_root_s_link(unharmed, whose):
    link = unharmed.top / "linked"
    link.symlink_to(unharmed.images)
    conf = unharmed.top / "linked.conf"
    text = (unharmed.top / "rhubarbe.conf").read_text()
    conf.write_text(text.replace(f"images_dir = {unharmed.images}", f"images_dir = {link}"))
    conf.chmod(0o600)
    try:
        if whose != "the repository":
            os.chown(link, ALICE, ALICE, follow_symlinks=False)
        done = unharmed.testbed.run("rhubarbe-resolve", "sample", RHUBARBE_CONF=str(conf))
        if whose == "the repository":
            assert done.stdout == f"{link}/sample.ndz\n"
        else:
            assert "is not followed" in done.stderr
            assert Path(link).is_symlink()
    finally:
        link.unlink()
        conf.unlink()
