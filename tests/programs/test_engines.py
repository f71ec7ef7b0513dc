"""Other engines than frisbee: udpcast on hosts with real multicast, and BitTorrent by aria2."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from emulated import (
    PrivateTestbed,
    differing_blocks,
    events,
    processes_on_nodes,
    start_testbed,
    wait_for_event,
)
from test_hosts import LACKING
from test_ways_out import children, gone_within

pytestmark = [pytest.mark.full, pytest.mark.alone, pytest.mark.testbed, pytest.mark.timeout(240)]

OPTIONS = ("--boot-time", "0.5", "--fault", "fit03:frisbee-fails*1")
HAS_HOSTS = os.getuid() == 0 and not LACKING


def start(directory, engine):
    program = {"udpcast": "udp-sender", "aria2": "aria2c"}[engine]
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    if HAS_HOSTS:
        testbed = start_testbed(directory, "--hosts", "4", *OPTIONS, kind=PrivateTestbed)
    elif engine == "udpcast":
        pytest.skip("receivers of udpcast on one address hang: needs what hosts need")
    else:
        testbed = start_testbed(directory, "--nodes", "4", *OPTIONS)
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(conf.read_text().replace("[frisbee]", f"[frisbee]\nengine = {engine}"))
    return testbed


@pytest.fixture(scope="module", params=["udpcast", "aria2"])
def site(request, tmp_path_factory):
    """Four nodes; on the third, the first writing fails in the middle."""
    testbed = start(tmp_path_factory.mktemp(request.param), request.param)
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def good(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_whole(site, *numbers):
    for number in numbers:
        assert differing_blocks(site.disk(f"fit{number:02}"), site.source) == []


def leftovers(site):
    """Images that nodes have kept in their memory."""
    return list((site.directory / "nodes").glob("*/tmp/image*"))


def test_two_nodes_are_loaded_and_prove_it(site):
    told = events(good(site.run("rhubarbe-load", "--json", "--verify", "--wait", "1-2")))
    assert_whole(site, 1, 2)
    assert (told[-1]["good"], told[-1]["bad"]) == ("1-2", "")
    assert [result["attempts"] for result in told[-1]["nodes"]] == [1, 1]
    assert set(told[-1]["nodes"][0]["phases"]) >= {"reset", "ramdisk", "image", "boot", "ssh"}
    for node in ("fit01", "fit02"):
        percents = [
            event["percent"]
            for event in told
            if event["event"] == "Progress" and event["node"] == node
        ]
        assert percents == sorted(percents)
        assert len(percents) > 4
        assert percents[-1] == 100
        assert any(
            "read back and compared" in event["text"]
            for event in told
            if event["event"] == "NodeNoted" and event["node"] == node
        )
    assert leftovers(site) == []


def test_a_node_that_fails_in_the_middle_does_not_hold_back_the_others(site):
    told = events(good(site.run("rhubarbe-load", "--json", "1-3", within=120)))
    assert told[-1]["good"] == "1-3"
    assert [result["attempts"] for result in told[-1]["nodes"]] == [1, 1, 2]
    (retried,) = [event for event in told if event["event"] == "NodeRetried"]
    assert (retried["node"], retried["phase"]) == ("fit03", "image")
    assert "write error" in retried["reason"]
    assert_whole(site, 1, 2, 3)
    assert site.links() == []


def test_a_node_that_dies_in_the_middle_holds_the_others_back_for_a_while_only(site):
    process = site.start(
        *("rhubarbe-load", "--json", "--retries", "0", "-b", "30", "1-2", "4"),
        stderr=subprocess.DEVNULL,
    )
    while wait_for_event(process, "Progress")["node"] != "fit04":
        pass
    assert site.ask_card("fit04", "off") == "ok\n"
    done = {wait_for_event(process, "NodeSucceeded", within=90)["node"] for _ in range(2)}
    process.terminate()
    process.communicate(timeout=20)
    assert done == {"fit01", "fit02"}
    assert_whole(site, 1, 2)
    assert site.links() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_in_the_middle_nothing_is_left(site, number):
    process = site.start("rhubarbe-load", "--json", "-b", "20", "1-2", stderr=subprocess.DEVNULL)
    wait_for_event(process, "Progress")
    pids = children(process.pid) + processes_on_nodes(site)
    assert len(pids) > 3
    process.send_signal(number)
    process.communicate(timeout=20)
    assert gone_within(pids, 10) == []
    assert processes_on_nodes(site) == []
    assert site.links() == []


def test_an_image_server_that_dies_is_said_at_once(site):
    process = site.start("rhubarbe-load", "--json", "-b", "20", "1-2", stderr=subprocess.DEVNULL)
    wait_for_event(process, "Progress")
    servers = [pid for pid in children(process.pid) if names(pid) in ("udp-sender", "aria2c")]
    os.kill(servers[0], signal.SIGKILL)
    rest = events(process.communicate(timeout=30)[0])
    assert process.returncode == 1
    assert rest[-1]["bad"] == "1-2"
    assert all("the image server ended" in result["reason"] for result in rest[-1]["nodes"])


def names(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_program_that_the_gateway_lacks_is_named_before_anything_is_touched(site, tmp_path):
    conf = (site.directory / "rhubarbe.conf").read_text()
    other = tmp_path / "rhubarbe.conf"
    lacking = "[udpcast]\nsender = nowhere\n[aria2]\nseeder = nowhere"
    other.write_text(conf.replace("[aria2]", lacking))
    before = site.log()
    done = site.run("env", f"RHUBARBE_CONF={other}", "rhubarbe-load", "1")
    assert done.returncode == 1
    assert re.search(r"nowhere: no such program on this gateway; see se(nd|ed)er in", done.stderr)
    assert " card " not in site.log()[len(before) :]


def test_a_program_that_the_node_lacks_is_an_outcome(site, tmp_path):
    conf = (site.directory / "rhubarbe.conf").read_text()
    other = tmp_path / "rhubarbe.conf"
    other.write_text(conf.replace("[frisbee]", "[frisbee]\nimageunzip = nowhere"))
    done = site.run("env", f"RHUBARBE_CONF={other}", "rhubarbe-load", "--json", "1")
    (result,) = json.loads(done.stdout.splitlines()[-1])["nodes"]
    assert (done.returncode, result["phase"], result["attempts"]) == (1, "image", 1)
    assert "status 127" in result["reason"]
