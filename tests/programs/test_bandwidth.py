"""Two loads at once share the gateway's bandwidth; who is alone has all of it."""

import json
import re
import subprocess

import pytest
from emulated import differing_blocks

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


def told(process, wanted):
    """Return the first event that is wanted, of those that a command tells from now on."""
    for line in process.stdout:
        event = json.loads(line)
        if wanted(event):
            return event
    raise AssertionError(f"it ended with {process.wait(20)}, and never told")


def says(words):
    return lambda event: event["event"] == "ServerSaid" and words in event["line"]


def serves(event):
    return event["event"] == "ImageServed"


@pytest.mark.full
def test_a_limit_that_is_enough_for_one_alone_is_enough_for_two_at_once(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5")
    conf = testbed.directory / "rhubarbe.conf"
    # Five seconds alone, of 9.5 that it may take; ten, where two have half of it each.
    text = re.sub(r"(?m)^bandwidth = .*$", "bandwidth = 24", conf.read_text())
    text = re.sub(r"(?m)^silence_timeout = .*$", "silence_timeout = 3", text)
    conf.write_text(text.replace("[nodes]\n", "[nodes]\nimage_patience = 1.3\n"))
    load = ("rhubarbe-load", "--json", "--retries", "0")
    with testbed.start(*load, "1") as first, testbed.start(*load, "2") as second:
        for process in (first, second):
            said, _ = process.communicate(timeout=120)
            assert process.returncode == 0, said


@pytest.mark.full
def test_each_of_two_loads_has_half_for_as_long_as_there_are_two(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5")
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(re.sub(r"(?m)^bandwidth = .*$", "bandwidth = 12", conf.read_text()))

    def load(node):
        return testbed.start(
            "rhubarbe-load", "--json", "-t", "150", node, stderr=subprocess.DEVNULL
        )

    with load("1") as first:
        assert told(first, serves)["bandwidth_mibps"] == 12
        with load("2") as second:
            assert told(second, serves)["bandwidth_mibps"] == 6
            told(first, says("6 Mibit/s from now on: 2 loads send"))
            told(first, says(f"Sending at {6 << 20} bits per second from now on"))
            second.terminate()
            second.communicate(timeout=60)
            told(first, says("12 Mibit/s from now on: no other load sends"))
            told(first, says(f"Sending at {12 << 20} bits per second from now on"))
        first.communicate(timeout=150)
    assert first.returncode == 0
    assert differing_blocks(testbed.disk("fit01"), testbed.source) == []
    assert testbed.links() == []
