"""Which nodes are on, up, or hold an image, as a user asks for them."""

import shutil

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


def test_the_stamp_of_a_save_is_told(site):
    assert site.run("rhubarbe-save", "6", "-o", "six", "-c", "a comment").returncode == 0
    assert site.run("rhubarbe-wait", "6").returncode == 0
    told = site.run("rhubarbe-status", "--image", "6").stdout
    assert told.startswith("fit06: no load is noted; stamped ")
    assert "a comment" in told
