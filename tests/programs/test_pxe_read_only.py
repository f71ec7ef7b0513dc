"""A pxelinux.cfg that cannot be written, as after an error of its disk: all is refused first."""

import contextlib
import os
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


class Mounted:
    """A testbed whose pxelinux.cfg is a small filesystem of its own."""

    def __init__(self, testbed):
        self.testbed = testbed
        self.links = testbed.directory / "pxelinux.cfg"
        kept = shutil.copytree(self.links, testbed.directory / "kept")
        self._mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=200", "tmpfs")
        shutil.copytree(kept, self.links, dirs_exist_ok=True)

    def _mount(self, *options):
        subprocess.run(["mount", *options, str(self.links)], check=True)

    def remount(self, how):
        self._mount("-o", f"remount,{how}")

    def run(self, *words):
        done = self.testbed.run(*words)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def left(self):
        return self.testbed.links()

    def end(self):
        subprocess.run(["umount", "-l", str(self.links)], check=True)


@pytest.fixture
def mounted(make_testbed):
    place = Mounted(make_testbed("--nodes", "3", "--boot-time", "1", "--sample-size", "4"))
    yield place
    place.end()


def refused(mounted, *words):
    """Return the one line by which a command is refused, before any node is blamed."""
    done = mounted.run(*words)
    assert done.returncode == 1
    assert "FAILED in" not in done.stdout
    assert "reset" not in mounted.testbed.log()
    assert not list((mounted.testbed.directory / "state").glob("*/link.*"))
    (line,) = done.stderr.splitlines()
    assert "and nothing was touched" in line
    return line


def test_where_no_link_can_be_made_all_is_refused_with_the_cure(mounted):
    mounted.remount("ro")
    for words in (
        ("rhubarbe-load", "--retries", "0", "1-2"),
        ("rhubarbe-save", "-o", "never", "1"),
        ("rhubarbe-rescue", "1-2"),
    ):
        line = refused(mounted, *words)
        assert "is on a disk that is mounted to be read only; as root: mount -o remount,rw" in line
    assert mounted.run("rhubarbe-history").stdout == "no run is noted\n"
    mounted.remount("rw")
    assert mounted.run("rhubarbe-load", "--retries", "0", "1").returncode == 0


def test_where_the_directory_is_full_all_is_refused(mounted):
    with contextlib.suppress(OSError):
        for number in range(1000):
            (mounted.links / f"filler-{number}").touch()
    line = refused(mounted, "rhubarbe-load", "--retries", "0", "1-2")
    assert "No space left on device" in line


def test_a_link_that_could_not_be_removed_is_swept_by_the_next_command_that_can(mounted):
    load = ("rhubarbe-load", "--retries", "0", "1-2")
    with mounted.testbed.start(*load) as running:
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
