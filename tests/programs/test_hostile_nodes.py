"""Nodes and power cards that attack: they are bad, and nobody else notices; all is bounded."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from emulated import differing_blocks, start_testbed
from hostile_nodes import CARDS, SSH, TELNET, HostileNode, ssh_server

from rhubarbe.dialogue import MOST_TOLD

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(300)]

GOOD = ("fit01", "fit02")
# Some 60 MiB are Python and its libraries; each node may have some buffers full.
MOST_MEMORY = 160 << 10  # KiB
# A small parent of its own: what is counted for a program begins with what its parent had.
MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""
LIMITS = {  # s
    "cmc_default_timeout": 4,
    "silence_timeout": 8,
    "timeout_before_telnet": 12,
    "image_patience": 1,
}
SOME = ("flood of lines", "unfinished C1 strings", "a gigabyte of lines", "card: chunks of a byte")


class Site:
    """A testbed with two good nodes, and hostile ones in the same inventory."""

    def __init__(self, testbed):
        self.testbed = testbed
        self._conf = testbed.directory / "rhubarbe.conf"
        self._inventory = testbed.directory / "inventory.json"
        self._good = json.loads(self._inventory.read_text())
        conf = self._conf.read_text()
        ports = ("cmc", "telnet", "ssh")
        self.ports = {
            name: int(re.search(rf"(?m)^{name}_port = (\d+)$", conf)[1]) for name in ports
        }
        # Testbeds have 127.16 and higher; another test process has another of these.
        self.network = f"127.{2 + os.getpid() % 12}"

    def set_limits(self, factor):
        """Have time limits of so many times those of LIMITS."""
        conf = self._conf.read_text()
        for name, seconds in LIMITS.items():
            conf = re.sub(rf"(?m)^{name} = .*\n", "", conf)
            conf = conf.replace("[nodes]\n", f"[nodes]\n{name} = {factor * seconds}\n")
        self._conf.write_text(conf)

    @contextlib.contextmanager
    def attacked_by(self, kinds):
        nodes = [
            HostileNode(number, kind, self.ports, self.network)
            for number, kind in enumerate(kinds, start=50)
        ]
        entries = [*self._good, *(node.entry for node in nodes)]
        self._inventory.write_text(json.dumps(entries))
        try:
            for node in nodes:
                node.start()
            yield nodes
        finally:
            for node in nodes:
                node.stop()

    def run(self, *words):
        """Run a command; return its exit code, its events, all that it wrote, its peak memory."""
        log = self.testbed.directory / "rhubarbe.log"
        log.unlink(missing_ok=True)
        peak = self.testbed.directory / "peak"
        measured = (sys.executable, "-c", MEASURED, str(peak), *words)
        process = self.testbed.start(*measured, text=False, stderr=subprocess.STDOUT)
        told = process.communicate()[0]
        assert b"Traceback" not in told
        text = told.decode()  # so it is UTF-8
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
        assert "owned\x07" not in text
        return process.returncode, text, log.stat().st_size, int(peak.read_text())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    testbed = start_testbed(
        tmp_path_factory.mktemp("strangers"),
        *("--nodes", "2", "--boot-time", "0.3", "--sample-size", "4"),
    )
    site = Site(testbed)
    site.set_limits(1)
    yield site
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def load_beside(site, kinds, retries=1):
    with site.attacked_by(kinds) as nodes:
        words = (
            "--json",
            "--verify",
            "--retries",
            str(retries),
            "-t",
            "120",
            "1-2",
            f"50-{49 + len(kinds)}",
        )
        code, told, log, memory = site.run("rhubarbe-load", *words)
    results = {node["node"]: node for node in json.loads(told.splitlines()[-1])["nodes"]}
    assert code == 1
    for name in GOOD:
        assert results[name]["ok"], results[name]
        assert differing_blocks(site.testbed.disk(name), site.testbed.source) == []
    for node in nodes:
        result = results[f"fit{node.number}"]
        assert not result["ok"], node.kind
        assert result["phase"], node.kind
        assert result["reason"], node.kind
    assert memory < MOST_MEMORY
    assert log < MOST_TOLD * len(nodes) + (1 << 20)
    assert site.testbed.links() == []


def test_a_load_beside_hostile_nodes(site):
    """No retry: the good ones do without. So limits are such as a busy machine also keeps."""
    site.set_limits(3)
    try:
        load_beside(site, SOME, retries=0)
    finally:
        site.set_limits(1)


@pytest.mark.full
@pytest.mark.parametrize("start", range(0, len(TELNET), 6))
def test_a_load_beside_telnet_of_all_kinds(site, start):
    load_beside(site, list(TELNET)[start : start + 6])


@pytest.mark.full
def test_a_load_beside_cards_of_all_kinds(site):
    load_beside(site, list(CARDS))


@pytest.mark.full
def test_ssh_of_all_kinds_is_waited_for_in_vain(site):
    with site.attacked_by(list(SSH)) as nodes:
        code, told, log, memory = site.run(
            *("rhubarbe-wait", "--json", "-t", "15", "1-2", f"50-{49 + len(nodes)}")
        )
    results = {node["node"]: node for node in json.loads(told.splitlines()[-1])["nodes"]}
    assert code == 1
    assert all(results[name]["ok"] for name in GOOD)
    assert not any(results[f"fit{node.number}"]["ok"] for node in nodes)
    assert memory < MOST_MEMORY
    assert log < 1 << 20


@pytest.mark.full
@pytest.mark.parametrize("banners", [0, 4000])
def test_a_server_that_lets_us_in_and_floods(site, banners):
    """A hundred megabytes of banners, or answers without end."""
    words = ("--json", "--image", "sample", "-t", "15", "50")
    with (
        site.attacked_by(["ssh: anything"]) as (node,),
        ssh_server(node.ip, site.ports["ssh"], banners=banners),
    ):
        code, told, log, memory = site.run("rhubarbe-wait", *words)
    (result,) = json.loads(told.splitlines()[-1])["nodes"]
    assert (code, result["ok"]) == (1, False)
    assert memory < MOST_MEMORY
    assert log < 1 << 20
