"""Three bad nodes of three kinds among twelve cost the others next to nothing."""

import re
import time

import pytest
from emulated import differing_blocks, events

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(180)]

FAULTS = {2: "card-dead", 5: "never-returns", 9: "frisbee-fails"}
PHASES = {2: "reset", 5: "ramdisk", 9: "image"}


def load(testbed, *options):
    started = time.monotonic()
    loaded = testbed.run("rhubarbe-load", "--json", *options, "1-12", within=120)
    return loaded, time.monotonic() - started


def longest_limit(testbed):
    text = (testbed.directory / "rhubarbe.conf").read_text()
    limits = ("reset_timeout", "timeout_before_telnet", "silence_timeout")
    return max(float(re.search(rf"^{name} = (.*)$", text, re.M).group(1)) for name in limits)


def test_the_nine_are_good_and_soon(make_testbed):
    good = make_testbed("--nodes", "12", "--boot-time", "0.7")
    loaded, all_good = load(good)
    assert loaded.returncode == 0, loaded.stdout[-2000:]
    good.end()

    words = [
        word for node, fault in FAULTS.items() for word in ("--fault", f"fit{node:02}:{fault}")
    ]
    testbed = make_testbed("--nodes", "12", "--boot-time", "0.7", *words)
    loaded, seconds = load(testbed, "--retries", "0")
    assert loaded.returncode == 1
    assert seconds < 1.3 * all_good + longest_limit(testbed)
    finished = events(loaded.stdout)[-1]
    assert (finished["good"], finished["bad"]) == ("1,3-4,6-8,10-12", "2,5,9")
    for result in finished["nodes"]:
        if result["ok"]:
            disk = testbed.disk(result["node"])
            assert differing_blocks(disk, testbed.source) == []
        else:
            assert result["phase"] == PHASES[result["number"]]
            assert result["reason"]
