"""One node with each fault among good ones: the good end well, the bad one is named."""

import asyncssh
import pytest
from emulated import differing_blocks, events

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]

# Each fault with the phase in which the node is given up, and words of the reason.
FAULTS = {
    "card-dead": ("reset", "reboot03"),
    "card-silent": ("reset", "no answer in 3 s to status"),
    "card-500": ("reset", "HTTP status 500"),
    "card-lies": ("reset", "stays up"),
    "never-leaves": ("reset", "stays up"),
    "never-returns": ("ramdisk", "no answer on telnet"),
    "telnet-drops": ("image", "telnet session was cut"),
    "slow-boot": ("ramdisk", "no answer on telnet"),
    "frisbee-fails": ("image", "status 1"),
    "disk-small": ("disk", "too small for the image"),
    "disk-errors": ("image", "status 1"),
}
# One of each phase always; a full run has the others too, each among eleven good ones.
ALWAYS = {"card-lies", "never-returns", "telnet-drops", "disk-errors"}
GLOBAL_LIMIT = 100


def check(testbed, count, phase, reason):
    # Far above the limits of the nodes: the reason below is then the node's own.
    limits = ("--retries", "0", "-t", str(GLOBAL_LIMIT))
    loaded = testbed.run("rhubarbe-load", "--json", *limits, f"1-{count}")
    told = events(loaded.stdout)
    assert loaded.returncode == 1, loaded.stdout[-2000:]
    failure, *others = [event for event in told if event["event"] == "NodeFailed"]
    assert (failure["node"], others) == ("fit03", [])
    assert failure["phase"] == phase, failure
    assert reason in failure["reason"], failure
    assert testbed.links() == []
    for number in range(1, count + 1):
        if number != 3:
            assert differing_blocks(testbed.disk(f"fit{number:02}"), testbed.source) == []


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=[] if fault in ALWAYS else pytest.mark.full) for fault in FAULTS],
)
def test_one_bad_node_among_good_ones(make_testbed, fault, request):
    count = 12 if request.config.getoption("--full") else 4
    nodes = ("--nodes", str(count), "--boot-time", "0.7")
    check(make_testbed(*nodes, "--fault", f"fit03:{fault}"), count, *FAULTS[fault])


@pytest.mark.parametrize(
    "fault", ["card-lies", pytest.param("never-leaves", marks=pytest.mark.full)]
)
def test_a_card_that_ignores_a_reset_once_is_switched_off_and_on(make_testbed, fault):
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.7", "--fault", f"fit01:{fault}*1")
    loaded = testbed.run("rhubarbe-load", "--retries", "0", "1")
    assert loaded.returncode == 0, loaded.stdout
    assert "off, then on" in loaded.stdout
    assert differing_blocks(testbed.disk("fit01"), testbed.source) == []


def test_wait_says_who_refuses_and_who_does_not_answer(make_testbed, tmp_path):
    testbed = make_testbed("--nodes", "3", "--boot-time", "0.5", "--fault", "fit02:never-returns")
    testbed.ask_card("fit02", "reset")
    waited = testbed.run("rhubarbe-wait", "-t", "4", "1-3")
    assert waited.returncode == 1
    assert "good: 1,3" in waited.stdout
    assert "bad: 2" in waited.stdout
    key = tmp_path / "stranger"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    conf = tmp_path / "rhubarbe.conf"
    text = (testbed.directory / "rhubarbe.conf").read_text()
    conf.write_text(
        "".join(
            f"ssh_key = {key}\n" if line.startswith("ssh_key") else line
            for line in text.splitlines(keepends=True)
        )
    )
    refused = testbed.run("rhubarbe-wait", "-t", "30", "1", RHUBARBE_CONF=str(conf))
    assert refused.returncode == 1
    assert "time limit" not in refused.stdout
    assert "refuses to let root in" in refused.stdout
