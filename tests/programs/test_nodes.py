"""Which nodes are on, up, or hold an image, as a user asks for them."""

import os
import shutil
import sys

import pytest
from emulated import start_testbed
from golden import assert_golden, transcript, without_times

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Six nodes: 1-2 were loaded, 3 failed to be, 4 is off, 5 has a silent card."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("nodes"),
        *("--nodes", "6", "--boot-time", "0.5"),
        *("--fault", "fit05:card-silent", "--fault", "fit03:frisbee-fails"),
    )
    images = testbed.directory / "images"
    shutil.copy(images / "sample.ndz", images / "other.ndz")
    for command in (
        ("rhubarbe-load", "--wait", "-i", "other", "1-2"),
        ("rhubarbe-load", "-i", "default", "2", "3"),
        ("rhubarbe-load", "-i", "default", "5"),
        ("rhubarbe-wait", "1-2", "6"),
        ("rhubarbe-off", "4"),
    ):
        testbed.run(*command)
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def test_nodes(site):
    shown = transcript(
        site,
        "rhubarbe-nodes --fold 1-6 '~2'",
        "rhubarbe-nodes --count -a",
        "rhubarbe-nodes --on 1-2 4 6",
        "rhubarbe-nodes --on 4-5",
        "rhubarbe-nodes --on --count 4",
        "rhubarbe-nodes --up --fold 1 3 6",
        "rhubarbe-nodes --image other -a",
        "rhubarbe-nodes --image sample -a",
        "rhubarbe-nodes --image default --fold -a",
        "rhubarbe-nodes --image nothing --count -a",
        "rhubarbe-nodes --on --up --image other --fold -a",
    )
    assert_golden("nodes/nodes", shown)


def test_what_is_on_the_disks(site):
    shown = transcript(
        site,
        "rhubarbe-status --image 1-6",
        "rhubarbe-status --image -v 1 2",
        "rhubarbe-status --image 4",
    )
    assert_golden("nodes/images", shown)


def test_history(site):
    shown = transcript(
        site,
        "rhubarbe-history 1 3",
        "rhubarbe-history --days 1 4",
        "rhubarbe-history 99",
    )
    assert_golden("nodes/history", without_times(shown))


@pytest.mark.full
def test_the_stamp_of_a_save_is_told(site):
    assert site.run("rhubarbe-save", "6", "-o", "six", "-c", "a comment").returncode == 0
    assert site.run("rhubarbe-wait", "6").returncode == 0
    told = site.run("rhubarbe-status", "--image", "6").stdout
    assert told.startswith("fit06: no load is noted; stamped ")
    assert "a comment" in told


DOORS = ("aiohttp", "asyncssh", "telnetlib3", "sqlite3", "progressbar", "curses", "shtab")


NEEDS = {
    "status 1": "",
    "nodes --on 1": "",
    "nodes --up 1 4": "",
    "nodes --image other 1": "sqlite3",
    "status --image 4": "sqlite3",
    "status --image 6": "sqlite3 asyncssh",
    "usrpoff 6": "sqlite3",
    "wait 6": "asyncssh sqlite3",
    "wait -n -t 0.5 6": "sqlite3",
    "load 6": "telnetlib3 sqlite3",
    "off --soft 4": "sqlite3",
}


def imported(site, line):
    verb, *words = line.split()
    check = (
        "import sys, rhubarbe.cli.dispatch as d\n"
        f"d.main(['rhubarbe-{verb}', *{words}])\n"
        f"print('imported:', *[m for m in {DOORS} if m in sys.modules])\n"
    )
    done = site.run(sys.executable, "-c", check)
    assert done.stderr == "", line
    return set(done.stdout.rpartition("imported:")[2].split())


@pytest.mark.skipif(
    "COVERAGE_PROCESS_CONFIG" in os.environ, reason="what measures coverage imports more"
)
# All in one, for all the processes that tests run in would each load a site of their own.
def test_doors_that_are_not_gone_through_are_not_imported(site):
    assert {line: imported(site, line) for line in NEEDS} == {
        line: set(needs.split()) for line, needs in NEEDS.items()
    }
