"""A node that failed once is tried once more, and the outcome says so, in all its forms."""

import json
import re
import shutil

import pytest
from emulated import differing_blocks, events, start_testbed

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(180)]

ONCE = {
    "telnet-drops": "image",
    "frisbee-fails": "image",
    "never-returns": "ramdisk",
}
# The others in a full run.
ALWAYS = {"frisbee-fails"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    testbed = start_testbed(tmp_path_factory.mktemp("pair"), "--nodes", "2", "--boot-time", "0.5")
    yield testbed
    testbed.end()


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=[] if fault in ALWAYS else pytest.mark.full) for fault in ONCE],
)
def test_a_fault_that_comes_once_is_recovered(make_testbed, fault):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5", "--fault", f"fit02:{fault}*1")
    loaded = testbed.run("rhubarbe-load", "--json", "1-2")
    told = events(loaded.stdout)
    assert loaded.returncode == 0, loaded.stdout[-2000:]
    retried = [event for event in told if event["event"] == "NodeRetried"]
    assert [(one["node"], one["phase"], one["attempt"]) for one in retried] == [
        ("fit02", ONCE[fault], 2)
    ]
    results = told[-1]["nodes"]
    assert [(one["node"], one["ok"], one["attempts"]) for one in results] == [
        ("fit01", True, 1),
        ("fit02", True, 2),
    ]
    assert results[1]["phases"].keys() >= {"reset", "ramdisk", "image", "boot"}
    for name in ("fit01", "fit02"):
        assert differing_blocks(testbed.disk(name), testbed.source) == []
    assert testbed.links() == []


def first_round_only(testbed, *words):
    loaded = testbed.run("rhubarbe-load", "--json", "--retries", "3", "-t", "60", *words)
    told = events(loaded.stdout)
    assert loaded.returncode == 1, loaded.stdout[-2000:]
    assert [event for event in told if event["event"] == "NodeRetried"] == []
    assert testbed.links() == []
    return told[-1]["nodes"]


@pytest.mark.full
def test_a_disk_that_is_too_small_is_not_tried_again(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5", "--fault", "fit02:disk-small")
    good, bad = first_round_only(testbed, "1-2")
    assert (good["ok"], good["attempts"]) == (True, 1)
    assert (bad["ok"], bad["attempts"], bad["phase"]) == (False, 1, "disk")
    assert "the disk is too small for the image" in bad["reason"]


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("no-such-client", "status 127: "),
        ("frisbee --no-such-option", "status 1: rhubarbe-frisbee: unrecognized option"),
        ("echo 'Bad Magic Number!' ; false", "status 1: Bad Magic Number!"),
    ],
)
def test_a_client_that_refuses_is_not_asked_again(pair, client, status):
    conf = pair.directory / "rhubarbe.conf"
    conf.write_text(re.sub(r"(?m)^client = .*$", f"client = {client}", conf.read_text()))
    (bad,) = first_round_only(pair, "1")
    assert (bad["ok"], bad["attempts"], bad["phase"]) == (False, 1, "image")
    assert status in bad["reason"]


def test_the_outcome_on_screen_and_in_a_file(make_testbed):
    testbed = make_testbed("--nodes", "3", "--boot-time", "0.5", "--fault", "fit02:card-500")
    loaded = testbed.run("rhubarbe-load", "--report", "out.json", "1-3")
    assert loaded.returncode == 1
    assert loaded.stdout.count("fit02: round 2 begins") == 1
    assert re.search(r"^fit02 +FAILED in round 2 ", loaded.stdout, re.M)
    assert re.search(r"^fit01 +ok +\d", loaded.stdout, re.M)
    assert re.search(r"^good: 1,3$", loaded.stdout, re.M)
    assert re.search(r"^bad: 2 \(reset: power card reboot02 .*500\)$", loaded.stdout, re.M)
    told = json.loads((testbed.directory / "out.json").read_text())
    assert (told["good"], told["bad"], told["exit_code"]) == ("1,3", "2", 1)
    assert [one["ok"] for one in told["nodes"]] == [True, False, True]

    refused = testbed.run("rhubarbe-load", "--report", "none/out.json", "1")
    assert refused.returncode == 1
    assert "no such directory" in refused.stderr


@pytest.mark.full
def test_history_tells_which_node_fails(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5", "--fault", "fit02:card-dead")
    assert testbed.run("rhubarbe-history").stdout == "no run is noted\n"
    testbed.run("rhubarbe-load", "--retries", "0", "1-2")
    testbed.run("rhubarbe-wait", "1")
    head, worst, best = testbed.run("rhubarbe-history").stdout.splitlines()
    assert head.split()[:6] == ["node", "runs", "failed", "again", "reset", "ramdisk"]
    assert worst.split()[:4] == ["fit02", "1", "100%", "0"]
    assert "load, reset: power card reboot02" in worst
    assert best.split()[:4] == ["fit01", "2", "0%", "0"]
    told = json.loads(testbed.run("rhubarbe-history", "--json", "1").stdout)
    assert [one["node"] for one in told] == ["fit01"]
    assert told[0]["phases"].keys() >= {"reset", "ramdisk", "image", "boot", "ssh"}


@pytest.mark.full
def test_a_history_that_cannot_be_written_breaks_nothing(make_testbed):
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.5")
    state = testbed.directory / "state"
    shutil.rmtree(state)
    state.write_text("in the way")
    waited = testbed.run("rhubarbe-wait", "1")
    assert waited.returncode == 0
    assert "not noted in the history" in waited.stdout
