"""After a crash of the command and its guardian, or of the gateway, the next command cleans up."""

import json
import os
import signal
import subprocess

import pytest
from emulated import wait_for_event
from test_ways_out import children, gone_within

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    "next_command", ["rhubarbe-wait", pytest.param("rhubarbe-load", marks=pytest.mark.full)]
)
def test_the_next_command_sweeps_the_links_and_says_so(make_testbed, next_command):
    testbed = make_testbed("--nodes", "3", "--boot-time", "2")
    process = testbed.start("rhubarbe-load", "--json", "1-2", stderr=subprocess.DEVNULL)
    for event in iter(lambda: wait_for_event(process, "PhaseStarted"), None):
        if event["phase"] == "ramdisk":
            break
    assert len(testbed.links()) == 2
    pids = [*children(process.pid), process.pid]
    # Neither may clean up, as if the machine had lost power.
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert gone_within(pids, 10) == []
    assert len(testbed.links()) == 2
    for file in testbed.directory.glob("state/*/link.*"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"boot": "the boot before"}))
    told = testbed.run(next_command, "3").stdout
    assert testbed.links() == []
    for name in ("fit01", "fit02"):
        assert f"removed the nextboot link of {name}, left behind by" in told
    assert list(testbed.directory.glob("state/*/link.*")) == []
