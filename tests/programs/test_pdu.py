"""Devices that are plugged into outlets of PDUs, by real requests to outlets that remember."""

import json
import os
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from emulated import events, start_testbed

from rhubarbe.shared.claims import make_claim
from rhubarbe.shared.state import StateDirectory

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(120)]

DEVICES = """\
pdu_hosts:
  - name: rack
    type: cards
    IP: 127.0.0.1
    chain_length: 2
    power: {kind: cmc, address: "127.88.{in_chain}.{outlet}", port: PORT}
devices:
  - name: lamp
    description: the one at the door
    auto_turn_off: yes
    inputs: [{pdu_host_name: rack, outlet: 1}]
  - name: twin
    auto_turn_off: true
    inputs:
      - {pdu_host_name: rack, outlet: 2}
      - {pdu_host_name: rack, outlet: 2, in_chain: 1}
  - name: fan
    inputs: [{pdu_host_name: rack, outlet: 3}]
  - name: liar
    inputs: [{pdu_host_name: rack, outlet: 4}]
  - name: mute
    inputs: [{pdu_host_name: rack, outlet: 5}]
"""


class Outlets:
    """A chain of two PDUs, an outlet an address: `lies` say ok only, `mute` ones nothing."""

    def __init__(self):
        self.on, self.lies, self.mute = set(), set(), set()
        self.orders = []
        outlets = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                outlets.answer(self)

            def log_message(self, *_):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Answer)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request):
        outlet = request.connection.getsockname()[0].removeprefix("127.88.")
        verb = request.path.strip("/")
        if outlet in self.mute:
            return
        if verb != "status":
            self.orders.append(f"{outlet} {verb}")
            if outlet not in self.lies:
                (self.on.add if verb == "on" else self.on.discard)(outlet)
        said = "ok" if verb != "status" else "on" if outlet in self.on else "off"
        request.send_response(200)
        request.send_header("Content-Length", str(len(said)))
        request.end_headers()
        request.wfile.write(said.encode())

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    testbed = start_testbed(tmp_path_factory.mktemp("pdu"), *("--nodes", "2", "--boot-time", "0.3"))
    conf = testbed.directory / "rhubarbe.conf"
    text = conf.read_text().replace(
        "[testbed]", f"[testbed]\ninventory_pdus_path = {testbed.directory}/pdus.yaml", 1
    )
    text = re.sub(r"(?m)^idle_after_reset.*\n", "", text)
    conf.write_text(text.replace("[nodes]", "[nodes]\nidle_after_reset = 1", 1))
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.fixture
def outlets():
    there = Outlets()
    yield there
    there.close()


@pytest.fixture
def site(running, outlets):
    write(running, DEVICES.replace("PORT", str(outlets.port)))
    return running


def write(testbed, text):
    path = testbed.directory / "pdus.yaml"
    path.write_text(text)
    path.chmod(0o600)


def test_list_names_what_there_is(site):
    done = site.run("rhubarbe-pdu", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "lamp  the one at the door; off at bye\ntwin  off at bye\nfan\nliar\nmute\n"
    )
    told = site.run("rhubarbe", "pdu", "list", "-v", "twin")
    assert told.stdout == "twin  off at bye; rack unit 0 outlet 2; rack unit 1 outlet 2\n"
    (listed,) = json.loads(site.run("rhubarbe-pdu", "list", "--json", "twin").stdout)
    assert listed["inputs"] == ["rack unit 0 outlet 2", "rack unit 1 outlet 2"]


def test_status_has_the_exit_codes_that_scripts_know(site, outlets):
    outlets.on |= {"0.1", "0.2", "1.2"}
    done = site.run("rhubarbe-pdu", "status", "lamp", "twin")
    assert (done.returncode, done.stdout) == (0, "lamp: on\ntwin: on\n")
    done = site.run("rhubarbe-pdu", "status", "lamp", "fan")
    assert (done.returncode, done.stdout) == (1, "lamp: on\nfan: off\n")
    outlets.mute.add("0.5")
    done = site.run("rhubarbe-pdu", "status", "-t", "0.5")
    assert done.returncode == 255
    assert re.search(r"(?m)^mute: .*(no answer|closed|answers)", done.stdout), done.stdout
    assert len(done.stdout.splitlines()) == 5
    assert outlets.orders == []


def test_a_device_of_several_inputs_is_off_only_when_all_are(site, outlets):
    outlets.on.add("1.2")
    done = site.run("rhubarbe-pdu", "status", "twin")
    assert done.returncode == 1
    assert done.stdout.startswith("twin: partly on")
    assert site.run("rhubarbe-pdu", "on", "twin").returncode == 0
    assert {"0.2", "1.2"} <= outlets.on
    done = site.run("rhubarbe-pdu", "off", "twin", "twin")
    assert (done.returncode, done.stdout) == (0, "twin: off\n")
    assert outlets.on == set()


def test_a_reset_is_off_seen_off_and_on(site, outlets):
    outlets.on |= {"0.1", "0.3"}
    done = site.run("rhubarbe-pdu", "reset", "lamp", "fan")
    assert (done.returncode, done.stdout) == (0, "lamp: reset\nfan: reset\n")
    assert [one for one in outlets.orders if one[:3] == "0.1"] == ["0.1 off", "0.1 on"]
    assert outlets.on == {"0.1", "0.3"}


@pytest.mark.parametrize("order", ["on", "off", "reset"])
def test_one_that_only_says_ok_is_named_and_the_others_are_done(site, outlets, order):
    outlets.lies.add("0.4")
    if order != "on":
        outlets.on |= {"0.3", "0.4"}
    done = site.run("rhubarbe-pdu", order, "fan", "liar")
    assert done.returncode == 255
    good, bad = done.stdout.splitlines()
    assert good == f"fan: {order}"
    assert bad.startswith("liar: says ok to ")


def test_events_for_programs(site, outlets):
    done = site.run("rhubarbe-pdu", "on", "--json", "fan")
    told = events(done.stdout)
    assert told[0]["event"] == "Started"
    assert told[-1] == told[-1] | {"event": "Finished", "command": "pdu on", "exit_code": 0}
    (answer,) = [each for each in told if each["event"] == "NodeAnswered"]
    assert (answer["node"], answer["text"], answer["ok"]) == ("fan", "on", True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["off"], "no device is named to switch off; there are: lamp twin fan liar mute"),
        (["on", "lmap"], "did you mean lamp?"),
        (["status", "xyz"], "there are lamp, twin"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_touched(site, outlets, words, said):
    done = site.run("rhubarbe-pdu", *words)
    assert done.returncode == 255
    (line,) = done.stderr.splitlines()
    assert line.startswith("rhubarbe-pdu: ")
    assert said in line
    assert outlets.orders == []


def test_a_wrong_verb_is_a_wrong_command_line(site):
    assert site.run("rhubarbe-pdu", "blink", "lamp").returncode == 2


def test_no_device_is_switched_by_a_node_s_outlet(site, outlets):
    card = json.loads((site.directory / "inventory.json").read_text())[0]["cmc"]["ip"]
    port = re.search(r"cmc_port = (\d+)", (site.directory / "rhubarbe.conf").read_text())[1]
    text = DEVICES.replace("127.88.{in_chain}.{outlet}", card).replace("PORT", port)
    write(site, text.partition("  - name: twin")[0])
    before = site.log()
    done = site.run("rhubarbe-pdu", "off", "lamp")
    assert done.returncode == 255
    assert "lamp: the same power as fit01" in done.stderr
    assert site.log() == before


def test_another_command_s_device_is_not_touched(site, outlets):
    place = StateDirectory(site.directory / "state").key()
    with make_claim(place, "node/lamp"):
        done = site.run("rhubarbe-pdu", "off", "lamp", "fan")
    assert done.returncode == 255
    assert "lamp is taken by" in done.stderr
    assert outlets.orders == []


def test_bye_switches_off_what_is_to_be_off_at_the_end_of_the_day(site, outlets):
    outlets.on |= {"0.1", "0.2", "1.2", "0.3"}
    done = site.run("rhubarbe-bye", ALL_NODES="1-2", NODES="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.startswith(
        "bye to everything: nodes 1-2, with their USRPs; on PDUs lamp, twin\n"
    )
    assert done.stdout == "1-2: off, usrpoff\nlamp: off\ntwin: off\n"
    assert outlets.on == {"0.3"}
    assert site.run("rhubarbe-on", "1-2").returncode == 0


def test_bye_to_some_nodes_or_parts_leaves_the_rest(site, outlets):
    outlets.on |= {"0.1", "0.2", "1.2"}
    assert site.run("rhubarbe-bye", "2").returncode == 0
    assert site.run("rhubarbe-bye", "-n", ALL_NODES="1-2").returncode == 0
    assert outlets.orders == []
    assert site.run("rhubarbe-on", "1-2").returncode == 0
    before = site.log()
    done = site.run("rhubarbe-bye", "-u", ALL_NODES="1-2")
    assert (done.returncode, done.stdout) == (0, "lamp: off\ntwin: off\n")
    assert " card " not in site.log()[len(before) :]
    assert outlets.on == set()


def test_bye_fails_where_a_device_stays_on(site, outlets):
    outlets.on |= {"0.1", "0.2", "1.2"}
    outlets.lies.add("0.1")
    done = site.run("rhubarbe-bye", "-u")
    assert done.returncode == 1
    assert "lamp: says ok to off" in done.stdout
    assert "twin: off" in done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_without_a_lease_nobody_switches_and_who_asks_is_warned(site, outlets):
    """As root, who needs none: that is told."""
    conf = site.directory / "rhubarbe.conf"
    before = conf.read_text()
    conf.write_text(f"{before}\n[leases]\nbackend = local\n")
    try:
        done = site.run("rhubarbe-pdu", "on", "fan")
    finally:
        conf.write_text(before)
    assert done.returncode == 0
    assert "no lease is asked for: root may pdu on at any time" in done.stderr
