"""Devices on a PDU that speaks SNMP, by net-snmp's programs to its real snmpd."""

import json
import re
import shutil

import pytest
from emulated import start_testbed

from rhubarbe.testbed.controls.snmp import Snmp

pytestmark = [
    pytest.mark.testbed,
    pytest.mark.full,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not all(map(shutil.which, (*Snmp.programs, "snmpget", "snmpset"))),
        reason="net-snmp is not installed",
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One node; the outlets of two other machines are those of a lamp and a fan."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("pdu-snmp"),
        *("--nodes", "3", "--boot-time", "0.3", "--power", "snmp"),
    )
    inventory = testbed.directory / "inventory.json"
    node, lamp, fan = json.loads(inventory.read_text())
    inventory.write_text(json.dumps([node]))
    pdus = testbed.directory / "pdus.yaml"
    pdus.touch(mode=0o600)
    pdus.write_text(json.dumps(devices(lamp["power"], fan["power"])))
    conf = testbed.directory / "rhubarbe.conf"
    text = re.sub(r"(?m)^(idle_after_reset|cmc_default_timeout).*\n", "", conf.read_text())
    text = text.replace("[testbed]", f"[testbed]\ninventory_pdus_path = {pdus}", 1)
    limits = "[nodes]\nidle_after_reset = 1\ncmc_default_timeout = 10"
    conf.write_text(text.replace("[nodes]", limits, 1))
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def devices(lamp, fan):
    """Return the file of PDUs, of two hosts with a device each."""
    hosts = {"lamp": lamp, "fan": fan}
    return {
        "pdu_hosts": [
            {"name": f"rack-{name}", "type": power["make"], "IP": power["address"], "power": power}
            for name, power in hosts.items()
        ],
        "devices": [
            {
                "name": name,
                "auto_turn_off": name == "lamp",
                "inputs": [{"pdu_host_name": f"rack-{name}", "outlet": power["outlet"]}],
            }
            for name, power in hosts.items()
        ],
    }


def pdu(site, *words):
    done = site.run("rhubarbe-pdu", *words)
    return done.returncode, done.stdout, done.stderr


def orders(site, before):
    """Return what the outlets were told since, in words such as `fit02 card off`."""
    lines = site.log()[len(before) :].splitlines()
    return [" ".join(line.split()[-3:]) for line in lines if " card " in line]


def test_all_verbs_reach_the_outlet_that_is_named(site):
    assert pdu(site, "list") == (0, "lamp  off at bye\nfan\n", "")
    assert pdu(site, "status") == (0, "lamp: on\nfan: on\n", "")
    before = site.log()
    assert pdu(site, "off", "lamp") == (0, "lamp: off\n", "")
    assert pdu(site, "status") == (1, "lamp: off\nfan: on\n", "")
    assert pdu(site, "on", "lamp") == (0, "lamp: on\n", "")
    assert pdu(site, "reset", "fan") == (0, "fan: reset\n", "")
    assert pdu(site, "status") == (0, "lamp: on\nfan: on\n", "")
    told = ["fit02 card off", "fit02 card on", "fit03 card off", "fit03 card on"]
    assert orders(site, before) == told


def test_bye_switches_off_only_what_is_to_be_off(site):
    before = site.log()
    done = site.run("rhubarbe-bye", "-u", ALL_NODES="1")
    assert (done.returncode, done.stdout) == (0, "lamp: off\n"), done.stderr
    assert orders(site, before) == ["fit02 card off"]
    assert pdu(site, "status") == (1, "lamp: off\nfan: on\n", "")
