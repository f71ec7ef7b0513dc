"""PDUs and what is plugged into them: read as sites write it down, or told what is wrong."""

import json

import pytest

from rhubarbe.errors import InventoryError, SelectionError
from rhubarbe.inventory import Driver
from rhubarbe.outlets_file import load_outlets, outlet_faults
from rhubarbe.transports.power import CONTROLS

SITE = """\
pdu_hosts:
  - name: pdu1
    type: eaton
    IP: 192.168.1.50
    username: admin
    password: !env PDU_PASSWORD
    chain_length: 3
  - {name: pdu2, type: relay, IP: 192.168.1.51}
devices:
  - name: microscope
    description: "the one by the window"
    ssh_hostname: scope
    auto_turn_off: true
    inputs:
      - {pdu_host_name: pdu1, outlet: 4, in_chain: 2}
      - {pdu_host_name: pdu2, outlet: 1}
  - name: lamp
    auto_turn_off: no
    inputs: [{pdu_host_name: pdu1, outlet: 4}]
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="inventory-pdus.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_a_site_s_pdus_and_devices(write):
    outlets = load_outlets(write(SITE))
    scope, lamp = outlets
    assert (scope.name, scope.description, scope.ssh_hostname) == (
        "microscope", "the one by the window", "scope",
    )  # fmt: skip
    assert (scope.auto_turn_off, lamp.auto_turn_off, lamp.ssh_hostname) == (True, False, "")
    assert [each.name for each in scope.inputs] == ["pdu1 unit 2 outlet 4", "pdu2 outlet 1"]
    assert [each.name for each in lamp.inputs] == ["pdu1 unit 0 outlet 4"]
    pdu1, pdu2 = outlets.hosts
    assert (pdu1.type, pdu1.address, pdu1.username, pdu1.password, pdu1.chain_length) == (
        "eaton", "192.168.1.50", "admin", "!env PDU_PASSWORD", 3,
    )  # fmt: skip
    assert (pdu2.username, pdu2.password, pdu2.chain_length) == ("", "", 1)
    assert "PDU_PASSWORD" not in repr(scope)


def test_the_same_in_json(write):
    document = {
        "pdu_hosts": [{"name": "p", "type": "relay", "IP": "10.0.0.1"}],
        "devices": [{"name": "d", "inputs": [{"pdu_host_name": "p", "outlet": 1}]}],
    }
    (device,) = load_outlets(write(json.dumps(document), "pdus.json"))
    assert device.inputs[0].name == "p outlet 1"


def test_devices_are_chosen_by_name_each_once(write):
    outlets = load_outlets(write(SITE))
    assert [each.name for each in outlets.choose(["lamp", "microscope", "lamp"])] == [
        "lamp",
        "microscope",
    ]
    with pytest.raises(SelectionError, match=r"no device 'lmap'; did you mean lamp\?"):
        outlets.choose(["lmap"])
    with pytest.raises(SelectionError, match=r"no device 'zzz'; there are microscope, lamp\Z"):
        outlets.choose(["zzz"])


def test_a_pdu_says_which_control_switches_its_outlets(write):
    text = SITE.replace(
        "type: relay,",
        "type: relay, username: me, password: '!file /etc/p', power: {kind: command,"
        " on: 'relay {address} {in_chain}/{outlet} on', as: '{username}', secret: '{password}',"
        " port: 7},",
    )
    scope, lamp = load_outlets(write(text))
    assert scope.inputs[1].driver == Driver(
        "command",
        {
            "on": "relay 192.168.1.51 0/1 on",
            "as": "me",
            "secret": "!file /etc/p",
            "port": 7,
        },
    )
    assert scope.inputs[0].driver == Driver(
        "snmp",
        {
            "make": "eaton",
            "address": "192.168.1.50",
            "outlet": "2.4",
            "version": "3",
            "user": "admin",
            "password": "!env PDU_PASSWORD",
        },
    )
    assert lamp.inputs[0].driver.said["outlet"] == "0.4"


def test_what_switches_an_outlet_follows_from_the_type_where_nothing_is_said(write):
    text = SITE.replace("    username: admin\n", "").replace("type: relay", "type: strip")
    scope, _ = load_outlets(write(text))
    eaton, strip = (each.driver for each in scope.inputs)
    assert eaton == Driver(
        "snmp",
        {
            "make": "eaton",
            "address": "192.168.1.50",
            "outlet": "2.4",
            "community": "!env PDU_PASSWORD",
        },
    )
    assert strip == Driver("strip", {})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pdu_host_name: pdu2", "pdu_host_name: pdu9", "no pdu9 there; there are pdu1, pdu2"),
        ("outlet: 1}", "outlet: 0}", "outlet: expected a whole number from 1 to 1024, found 0"),
        ("outlet: 1}", "outlet: 01}", "found '01'"),
        ("outlet: 1}", "outlet: true}", "outlet: expected a whole number"),
        ("outlet: 1}", "in_chain: 0}", "outlet: expected a whole number .* found nothing"),
        ("in_chain: 2", "in_chain: 3", "in_chain: expected a whole number from 0 to 2, found 3"),
        ("chain_length: 3", "chain_length: three", "chain_length: expected a whole number"),
        ("auto_turn_off: no", "auto_turn_off: maybe", "auto_turn_off: expected yes or no"),
        ("auto_turn_off: no", "auto_turnoff: no", r"'auto_turnoff'; did you mean auto_turn_off\?"),
        ("name: lamp", "name: microscope", "microscope for the second time"),
        ("name: lamp", "label: lamp", "name: expected letters"),
        ("name: pdu2", "name: pdu1", "pdu1 for the second time"),
        ("type: eaton", "type: [x]", "type: expected letters.*found a list"),
        ("IP: 192.168.1.50", "IP:", "IP: expected letters.*found nothing"),
        ("IP: 192.168.1.50", "IP: 224.0.0.1", "IP: expected that of one host, found '224.0.0.1'"),
        ("!env PDU_PASSWORD", "[s3cr3t]", "password: expected text, found a list"),
        ("outlet: 4}]", "outlet: 4, in_chain: 2}]", "plugged in there are microscope and lamp"),
        ("[{pdu_host_name: pdu1, outlet: 4}]", "[]", "inputs: expected where it is plugged in"),
        ("[{pdu_host_name: pdu1, outlet: 4}]", "[pdu1]", "inputs: entry 1: expected an object"),
        ("devices:", "devices: !!python/none\nx:", "line 9: a tag that"),
        ("pdu_hosts:", "pdus:", "no pdu1 there; there are none"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_line(write, old, new, words):
    assert old in SITE
    path = write(SITE.replace(old, new))
    with pytest.raises(InventoryError, match=rf"\A{path}: [^\n]*{words}[^\n]*\Z") as caught:
        load_outlets(path)
    assert "s3cr3t" not in str(caught.value)
    assert str(caught.value).startswith(outlet_faults(path)[0])


def test_nothing_there_and_something_else_there(write, tmp_path):
    assert "no such file of PDUs" in outlet_faults(tmp_path / "none.yaml")[0]
    assert "found a list" in outlet_faults(write("- a\n"))[0]
    assert list(load_outlets(write("pdu_hosts:\ndevices:\n"))) == []


@pytest.mark.parametrize("user", ["    username: admin\n", ""])
def test_what_a_type_stands_for_is_a_control_that_there_is(write, user):
    scope, _ = load_outlets(write(SITE.replace("    username: admin\n", user)))
    assert list(CONTROLS.faults(scope.inputs[0].driver)) == []
