"""Images as a user sees them: saved, listed with where they come from, found, shared."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from emulated import Place, start_testbed, wait_for_event
from golden import assert_golden, transcript, without_times
from test_two_users import BECOME_NOBODY

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(240)]

CHUNK = 1 << 20
SEAL_AT = 4032
DATES = {"ubuntu": 1_700_000_000, "fedora": 1_710_000_000, "bad": 1_720_000_000}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A testbed of one node that was loaded, then saved as an image; all sorts of other images."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("images"), *("--nodes", "1", "--boot-time", "0.4")
    )
    assert testbed.run("rhubarbe-load", "1").returncode == 0
    saved = testbed.run("rhubarbe-save", "1", "-o", "mywork", "-c", "with my - tools")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    images = testbed.directory / "images"
    whole = (images / "sample.ndz").read_bytes()
    unsealed, damaged = bytearray(whole), bytearray(whole)
    for at in range(SEAL_AT, len(whole), CHUNK):
        unsealed[at : at + 64] = bytes(64)
    damaged[CHUNK + 9999] ^= 1
    for name, content in {"ubuntu": unsealed, "fedora": whole + whole, "bad": damaged}.items():
        (images / f"{name}.ndz").write_bytes(content)
        os.utime(images / f"{name}.ndz", (DATES[name], DATES[name]))
    (images / "ubuntu-lts.ndz").symlink_to("ubuntu.ndz")
    (images / "dangling.ndz").symlink_to("gone.ndz")
    (images / "cut.ndz.partial").touch()
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def sized(text):
    """Leave out what depends on how well this machine's libraries compress."""
    text = re.sub(r"  [ \d]{7}\.\d\dM", "        SIZE", text)
    return re.sub(r"whole: \d+ chunks", "whole: N chunks", text)


def test_list(site):
    shown = transcript(
        site,
        "rhubarbe-images",
        "rhubarbe-list --by-size",
        "rhubarbe-images -d -r",
        "rhubarbe-images ubu fed",
        "rhubarbe-images -a ubu lts",
        "rhubarbe-images nothing",
        "rhubarbe-images --long sample mywork ubuntu",
        "rhubarbe-images --check sample ubuntu bad",
        TZ="UTC",
    )
    assert_golden("images/list", sized(shown))


def test_the_same_for_programs(site):
    told = json.loads(site.run("rhubarbe-images", "--json", "--long").stdout)
    assert [part["directory"] for part in told] == [
        str(site.directory / "images"),
        str(site.directory),
    ]
    (*_, sample, ubuntu), (mine,) = (part["images"] for part in told)
    assert (sample["name"], sample["aliases"], sample["from"]) == ("sample", ["default"], [])
    assert (ubuntu["name"], ubuntu["sealed"], ubuntu["id"]) == ("ubuntu", False, None)
    assert (mine["saved"]["node"], mine["saved"]["comment"]) == ("fit01", "with my - tools")
    assert mine["from"] == ["sample"]
    assert (mine["sealed"], mine["size"]) == (
        True,
        (site.directory / "mywork.ndz").stat().st_size,
    )
    assert mine["id"] != sample["id"]
    told = json.loads(site.run("rhubarbe-images", "--check", "--json", "bad", "sample").stdout)
    assert [("chunk 1" in (each["damage"] or "")) for each in told[0]["images"]] == [True, False]


def test_an_image_goes_only_when_no_load_reads_it(site):
    """The sample is being served; nothing is removed beside it, before it is known to be free."""
    images = site.directory / "images"
    for name in ("served", "other"):
        shutil.copy(images / "sample.ndz", images / f"{name}.ndz")
    (images / "alias.ndz").symlink_to("served.ndz")
    process = site.start("rhubarbe-load", "--json", "-i", "alias", "1", stderr=subprocess.DEVNULL)
    with process:
        wait_for_event(process, "ImageServed")
        refused = site.run("rhubarbe-images", "--remove", "other", "served")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert re.fullmatch(
            rf"rhubarbe-images: {images}/served.ndz: is in use by .*\(pid \d+\).*\n",
            refused.stderr,
        )
        assert str(process.pid) in refused.stderr
        process.communicate(timeout=60)
    assert process.returncode == 0
    told = site.run("rhubarbe-images", "--remove", "--dry-run", "other", "served")
    assert (told.returncode, (images / "served.ndz").exists()) == (0, True)
    done = site.run("rhubarbe-images", "--remove", "other", "served")
    assert (done.returncode, done.stderr) == (0, "")
    assert [f"would {line}" for line in done.stdout.splitlines()] == told.stdout.splitlines()
    assert re.search(
        r"remove .*/served.ndz \(.* MiB\), and alias.ndz, which lead to it", done.stdout
    )
    assert not {"served.ndz", "other.ndz", "alias.ndz"} & {path.name for path in images.iterdir()}


def test_resolve(site):
    shown = transcript(
        site,
        "rhubarbe-resolve sample",
        "rhubarbe-resolve default mywork.ndz",
        "rhubarbe-resolve -r default",
        "rhubarbe-resolve ./mywork",
        "rhubarbe-resolve smaple",
        "rhubarbe-resolve sample xyz",
        "rhubarbe-resolve cut",
        "rhubarbe-resolve mywork.ndz.partial",
        "rhubarbe-load -i ubunto 1",
        "rhubarbe-load -i bad 1",
    )
    assert_golden("images/resolve", without_times(shown))


@pytest.fixture
def gateway(site, tmp_path):
    """A directory of images, and one beside it in which somebody has made some."""
    place = Place(tmp_path)
    place.configure(f"[frisbee]\nimages_dir = {tmp_path}/images\n")
    (tmp_path / "images").mkdir()
    images = site.directory / "images"
    for name in ("images/fedora.ndz", "mine.ndz"):
        shutil.copy(images / "sample.ndz", tmp_path / name)
    for date in ("2026-03-18@09-00", "2026-03-19@10-24"):
        shutil.copy(images / "sample.ndz", tmp_path / f"saving__fit04__{date}__tools.ndz")
    shutil.copy(images / "bad.ndz", tmp_path / "bad.ndz")
    (tmp_path / "images" / "default.ndz").symlink_to("fedora.ndz")
    return place


def test_share(gateway):
    shown = transcript(
        gateway,
        "rhubarbe-share mine -o ours -a new -a default --dry-run",
        "rhubarbe-share mine -o ours -a new -a default",
        "rhubarbe-resolve --real new default",
        "rhubarbe-share ours -a also",
        "rhubarbe-share ours",
        "rhubarbe-share ours -o fedora",
        "rhubarbe-share mine",
        "rhubarbe-share new -a fedora",
        "rhubarbe-share ours -o ../ours",
        "rhubarbe-share bad",
        "rhubarbe-share --clean saving__fit04__2026-03-19@10-24__tools",
        "rhubarbe-share --force ours -o fedora",
        "rhubarbe-resolve --real new default also",
        "sh -c 'ls *.ndz images'",
    )
    assert_golden("images/share", shown)


@dataclass
class Somebody(Place):
    """A place as it is for somebody who may not write there."""

    def run(self, *command, **more):
        if os.getuid():
            (self.directory / "images").chmod(0o555)
        return super().run(*(() if os.getuid() else BECOME_NOBODY), *command, **more)


def test_who_may_not_share_is_told_what_would_be_done(gateway):
    (gateway.directory / "rhubarbe.conf").chmod(0o644)
    shown = transcript(Somebody(gateway.directory), "rhubarbe-share mine -a new")
    assert_golden("images/share-not", shown)
    assert (gateway.directory / "mine.ndz").exists()


@pytest.mark.full
def test_an_image_moves_across_filesystems(gateway):
    memory = Path("/dev/shm")
    here = gateway.directory
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == here.stat().st_dev:
        pytest.skip("needs a second filesystem at /dev/shm")
    content = (here / "mine.ndz").read_bytes()
    with tempfile.TemporaryDirectory(dir=memory) as other:
        shutil.move(here / "mine.ndz", other)
        done = gateway.run("rhubarbe-share", f"{other}/mine")
        assert (done.returncode, done.stderr) == (0, "")
        assert list(Path(other).iterdir()) == []
    assert (here / "images" / "mine.ndz").read_bytes() == content
    assert [path.name for path in (here / "images").iterdir() if "partial" in path.name] == []
