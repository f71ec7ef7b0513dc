"""A pxelinux.cfg that cannot be written, as after an error of its disk: one line a node, no more.

Each runs in a mount namespace of its own, with a small filesystem there.
"""

import os
import re
import shutil
import subprocess

import pytest
from emulated import wait_until

pytestmark = [
    pytest.mark.testbed,
    pytest.mark.full,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can mount"),
]
# It stays there while others enter its namespace.
HOLDER = (
    "cp -a {links} {links}.kept && mount -t tmpfs -o size=1m,nr_inodes=200 tmpfs {links}"
    " && cp -a {links}.kept/. {links} && echo there && exec sleep 600"
)


class Mounted:
    """A testbed whose pxelinux.cfg is a filesystem of its own, for those who enter."""

    def __init__(self, testbed):
        self.testbed = testbed
        self.links = testbed.directory / "pxelinux.cfg"
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", HOLDER.format(links=self.links)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout.readline() == "there\n"
        self._enter = ("nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--")

    def words(self, *words):
        # The working directory of who enters is that of the namespace's root.
        script = 'cd "$1" && shift && exec "$@"'
        return (*self._enter, "sh", "-c", script, "sh", str(self.testbed.directory), *words)

    def run(self, *words):
        done = self.testbed.run(*self.words(*words))
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def remount(self, how):
        self.run("mount", "-o", f"remount,{how}", str(self.links))

    def left(self):
        return [name for name in self.run("ls", str(self.links)).stdout.split() if "01-" in name]

    def end(self):
        self.holder.kill()
        self.holder.communicate()


@pytest.fixture
def mounted(make_testbed):
    if not shutil.which("nsenter"):
        pytest.skip("needs nsenter")
    place = Mounted(make_testbed("--nodes", "3", "--boot-time", "1", "--sample-size", "4"))
    yield place
    place.end()


def lines_about(done, number):
    return [line for line in done.stdout.splitlines() if f"fit{number:02}: FAILED" in line]


def test_where_no_link_can_be_made_each_node_has_one_line(mounted):
    mounted.remount("ro")
    for words in (
        ("rhubarbe-load", "--retries", "0", "1-2"),
        ("rhubarbe-save", "-o", "never", "1"),
        ("rhubarbe-rescue", "1-2"),
    ):
        done = mounted.run(*words)
        assert done.returncode == 1
        assert done.stderr == ""
        for number in (1, 2) if words[-1] == "1-2" else (1,):
            (line,) = lines_about(done, number)
            assert "the nextboot link cannot be made: Read-only file system" in line
        assert "reset" not in mounted.testbed.log()
    assert not list((mounted.testbed.directory / "state").glob("*/link.*"))
    mounted.remount("rw")
    assert mounted.run("rhubarbe-load", "--retries", "0", "1").returncode == 0


def test_where_the_directory_is_full_each_node_has_one_line(mounted):
    mounted.run("sh", "-c", f"while : > {mounted.links}/$((n += 1)); do :; done")
    done = mounted.run("rhubarbe-load", "--retries", "0", "1-2")
    assert done.returncode == 1
    for number in (1, 2):
        (line,) = lines_about(done, number)
        assert re.search(r"link cannot be made: No space left on device|cannot be noted", line)


def test_a_link_that_could_not_be_removed_is_swept_by_the_next_command_that_can(mounted):
    load = ("rhubarbe-load", "--retries", "0", "1-2")
    with mounted.testbed.start(*mounted.words(*load)) as running:
        wait_until(lambda: len(mounted.left()) == 2)
        mounted.remount("ro")
        told = running.communicate(timeout=90)[0]
    assert running.returncode == 1
    assert "Traceback" not in told
    for number in (1, 2):
        (line,) = [each for each in told.splitlines() if f"fit{number:02}: FAILED" in each]
        assert "the nextboot link cannot be removed" in line
        assert "Read-only file system" in line
    notes = list((mounted.testbed.directory / "state").glob("*/link.*"))
    assert len(notes) == len(mounted.left()) == 2
    still = mounted.run("rhubarbe-wait", "-t", "0.1", "3")
    assert still.stdout.count("cannot be removed: Read-only file system") == 2
    assert len(mounted.left()) == 2
    mounted.remount("rw")
    swept = mounted.run("rhubarbe-wait", "-t", "0.1", "3")
    assert swept.stdout.count("removed the nextboot link of fit0") == 2
    assert mounted.left() == []
    assert not list((mounted.testbed.directory / "state").glob("*/link.*"))
