"""The inventory: what is accepted, how it is normalised, and what is said of the rest."""

import json
import os
import re

import pytest

from rhubarbe.cli.dispatch import main
from rhubarbe.errors import InventoryError, SelectionError
from rhubarbe.inventory import inventory_template, load_inventory, readable_entries
from rhubarbe.transports.power import KINDS


def node(number, **changes):
    return {
        "cmc": {"hostname": f"reboot{number:02}", "ip": f"10.0.1.{number}", "mac": ""},
        "control": {
            "hostname": f"fit{number:02}",
            "ip": f"10.0.3.{number}",
            "mac": f"02:00:00:00:00:{number:02x}",
        },
    } | changes


def changed(part, **values):
    return node(1, **{part: node(1)[part] | values})


@pytest.fixture
def load(tmp_path):
    def read(content):
        path = tmp_path / "inventory.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return load_inventory(path)

    return read


@pytest.fixture
def refusal(load):
    def read(content):
        with pytest.raises(InventoryError, match=r"\A[^\n]+\Z") as caught:
            load(content)
        return str(caught.value)

    return read


@pytest.mark.parametrize(
    "spelling",
    [
        "02:0a:0B:0c:0D:0e",
        "02-0A-0B-0C-0D-0E",
        "020a.0b0c.0d0e",
        "020A0B0C0D0E",
        "02 0a 0b 0c 0d 0e",
    ],
)
def test_a_mac_is_normalised_whatever_its_case_and_separator(load, spelling):
    (entry,) = load([changed("control", mac=spelling)])
    assert entry.control.mac == "02:0a:0b:0c:0d:0e"


def test_data_is_optional(load):
    data = {"hostname": "data02", "ip": "10.0.2.2", "mac": "02-00-00-00-02-02"}
    first, second, third = load([node(1), node(2, data=data), node(3, data=None)])
    assert first.data is None
    assert third.data is None
    assert second.data.ip == "10.0.2.2"
    assert second.data.mac == "02:00:00:00:02:02"


def test_a_node_has_the_number_of_its_control_name(load):
    card = {"hostname": "reboot15", "ip": "10.0.1.15", "mac": "02:00:00:00:01:15"}
    (entry,) = load([node(41, cmc=card)]).choose([41])
    assert (entry.number, entry.name, entry.cmc.hostname) == (41, "fit41", "reboot15")


@pytest.mark.parametrize(
    ("hostname", "number"),
    [
        ("fit137", 137),
        ("fit1042", 1042),
        ("n7.lan", 7),
        ("c6220-12", 12),
        ("r2d2-rack4-node07", 7),
        ("pc3.lab7.example.org", 3),
        ("node.lab7", 7),
        ("10.0.0.12", 12),
    ],
)
def test_a_number_has_any_count_of_digits(load, hostname, number):
    (entry,) = load([changed("control", hostname=hostname)])
    assert (entry.number, entry.name) == (number, hostname)


@pytest.mark.parametrize(
    ("hostname", "regularname", "number"),
    [
        ("fit03-wifi2", "fit", 3),
        ("c6220-12", "c6220-", 12),
        ("c6220-12", "fit", 12),
        ("pc7-rack12", "pc", 7),
        ("spc7-rack12", "pc", 12),
        ("c6220-12", "c", 6220),
        ("01237L6", "0123", 7),
        ("0137", "fit", 137),
    ],
)
def test_a_setting_says_what_stands_before_the_number(tmp_path, hostname, regularname, number):
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps([changed("control", hostname=hostname)]))
    (entry,) = load_inventory(path, regularname)
    assert entry.number == number


def test_two_nodes_never_get_one_number(tmp_path, refusal):
    nodes = [node(n, control=node(n)["control"] | {"hostname": f"c6220-{n}"}) for n in (12, 13)]
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps(nodes))
    assert readable_entries(path)[1] == []
    assert readable_entries(path, "c")[1] == [
        f"{path}: entries 1-2 (c6220-12, c6220-13): the same number 6220"
    ]
    nodes = [node(n, control=node(n)["control"] | {"hostname": f"rack{n}-4"}) for n in (1, 2)]
    assert "(rack1-4, rack2-4): the same number 4" in refusal(nodes)


def test_entries_come_in_the_order_of_nodes(load):
    inventory = load([node(12), node(3), node(7)])
    assert [entry.number for entry in inventory] == [3, 7, 12]
    assert [entry.number for entry in inventory.choose([12, 3])] == [12, 3]


def test_nodes_that_are_missing_are_named_folded(load):
    with pytest.raises(SelectionError, match=r"not in the inventory: 15-18; .* has 1-3"):
        load([node(1), node(2), node(3)]).choose([1, 15, 16, 17, 18])


def test_what_is_not_json_is_refused_with_its_line(refusal):
    assert "inventory.json: line 3, column 1: not JSON" in refusal('[\n{"cmc": 1},\n')


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(InventoryError, match=r"nowhere\.json: no such inventory; .*--template"):
        load_inventory(tmp_path / "nowhere.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InventoryError, match="cannot be read"):
        load_inventory(tmp_path / "binary")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"fit01": {}}, "expected a list of nodes, found an object without nodes"),
        ('[{"cmc": 1, "cmc": 2}]', "no inventory: key 'cmc' for the second time"),
        ({"nodes": None}, "expected a list of nodes, found null"),
        ({"nodes": {}}, "expected a list of nodes, found an object"),
        (["fit01"], "entry 1: expected an object"),
        ([node(1), {"cmc": node(2)["cmc"]}], "entry 2: control: expected an object"),
        ([{"control": node(1)["control"]}], "entry 1: cmc: expected an object"),
        ([changed("control", ip="10.0.3.256")], "control.ip: expected an IPv4 address"),
        ([changed("control", ip=None)], "control.ip: expected an IPv4 address"),
        ([changed("cmc", ip="reboot01")], "cmc.ip: expected an IPv4 address"),
        ([changed("control", hostname="localhost")], "has no number"),
        ([changed("control", hostname="fit 01")], "control.hostname: expected a host name"),
        ([changed("control", hostname="../fit01")], "control.hostname: expected a host name"),
        (
            [changed("control", hostname="fit" + "9" * 5000)],
            "control.hostname: expected a host name",
        ),
        ([changed("control", hostname=3)], "control.hostname: expected a host name"),
        ([changed("control", mac="")], "control.mac: expected a MAC address"),
        ([changed("control", mac="02:00:00:00:00")], "control.mac: expected a MAC address"),
        ([changed("control", mac="02:00:00:00:00:0g")], "control.mac: expected a MAC address"),
        ([changed("control", mac="../../etc/passwd")], "control.mac: expected a MAC address"),
        ([changed("cmc", mac="nonsense")], "cmc.mac: expected a MAC address"),
        ([node(1), node(2, control=node(1)["control"])], "the same number 1"),
        ([node(1), node(2, cmc=node(1)["cmc"])], "the same cmc.ip 10.0.1.1"),
    ],
)
def test_what_is_wrong_is_named(refusal, content, says):
    assert says in refusal(content)


@pytest.mark.parametrize("disk", ["/dev/nvme0n1", "serial=S64DNX0R", "size>=100G, smallest"])
def test_a_node_may_say_which_disk(load, disk):
    (entry,) = load([node(1, disk=disk)])
    assert entry.disk == disk


@pytest.mark.parametrize("disk", ["", "sda", 3, None, ["/dev/sda"], "speed>=3"])
def test_a_disk_that_cannot_be_is_named(refusal, disk):
    assert "entry 1: disk: expected a path such as /dev/nvme0n1, or hints" in refusal(
        [node(1, disk=disk)]
    )


@pytest.mark.parametrize("key", ["ip", "mac"])
def test_addresses_are_those_of_one_node(refusal, key):
    second = node(2)
    value = second["control"][key] = node(1)["control"][key]
    assert f"entries 1-2 (fit01, fit02): the same control.{key} {value}" in refusal(
        [node(1), second]
    )


def test_the_same_mac_in_another_spelling_is_the_same(refusal):
    second = node(2)
    second["control"]["mac"] = "02-00-00-00-00-01"
    assert "the same control.mac" in refusal([node(1), second])


@pytest.mark.parametrize(
    "ip", ["10.0.0", "10.0.0.256", "10.0.0.01", " 10.0.0.1", "10.0.0.1\n", "٣.0.0.1"]
)
def test_an_address_is_one_to_the_letter(refusal, ip):
    assert "control.ip: expected an IPv4 address" in refusal([changed("control", ip=ip)])


@pytest.mark.parametrize("ip", ["127.77.1.2", "10.199.249.9", "223.255.255.255", "0.0.0.1"])
def test_the_address_of_a_host_is_accepted(load, ip):
    (entry,) = load([changed("control", ip=ip)])
    assert entry.control.ip == ip


@pytest.mark.parametrize("part", ["control", "cmc", "data"])
@pytest.mark.parametrize(
    "ip", ["0.0.0.0", "224.0.0.1", "234.5.6.7", "239.255.255.255", "255.255.255.255"]
)
def test_an_address_that_no_host_has_is_refused(refusal, part, ip):
    one = node(1, data=node(1)["control"])
    one[part] |= {"ip": ip}
    assert f"{part}.ip: expected that of one host, found '{ip}'" in refusal([one])


def test_all_faults_are_found_each_in_a_line(tmp_path):
    path = tmp_path / "inventory.json"
    broken = [
        node(1),
        "not a node",
        changed("control", ip="1.2.3", mac="xyz") | {"cmc": {"hostname": "-x", "ip": "10.0.1.300"}},
        node(2, data={"hostname": "d", "ip": 5, "mac": "0"}),
        node(3) | {"cmc": node(1)["cmc"]},
        node(4, control=node(1)["control"]),
        node(5, control=node(5)["control"] | {"hostname": "nameless"}),
    ]
    path.write_text(json.dumps(broken))
    says = [line.removeprefix(f"{path}: ") for line in readable_entries(path)[1]]
    assert says == [
        "entry 2: expected an object with cmc and control",
        "entry 3: control.ip: expected an IPv4 address, found '1.2.3'",
        "entry 3: control.mac: expected a MAC address of 12 hex digits, found 'xyz'",
        "entry 3: cmc.hostname: expected a host name, found '-x'",
        "entry 3: cmc.ip: expected an IPv4 address, found '10.0.1.300'",
        "entry 4: data.ip: expected an IPv4 address, found 5",
        "entry 4: data.mac: expected a MAC address of 12 hex digits, found '0'",
        "entry 7: control.hostname 'nameless' has no number",
        "entries 1,6 (fit01, fit01): the same number 1",
        "entries 1,6 (fit01, fit01): the same control.mac 02:00:00:00:00:01",
        "entries 1,6 (fit01, fit01): the same control.ip 10.0.3.1",
        "entries 1,5 (fit01, fit03): the same cmc.ip 10.0.1.1",
    ]
    with pytest.raises(
        InventoryError, match=r"entry 2: .*; rhubarbe-inventory --check tells 11 more"
    ):
        load_inventory(path)
    path.write_text(json.dumps([node(1), node(2)]))
    assert readable_entries(path)[1] == []


def test_the_template_is_an_inventory(load):
    first, second = load(inventory_template("node", "card"))
    assert (first.name, first.cmc.hostname, second.number) == ("node01", "card01", 2)
    assert (first.data is None, second.data is None) == (False, True)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"Disk": "/dev/sdb"}, "Disk"),
        ({"hard_drive": "/dev/sdb"}, "hard_drive"),
        ({"control": node(1)["control"] | {"disk": "/dev/sdb"}}, "control.disk"),
    ],
)
def test_a_disk_that_would_be_passed_over_is_a_fault(refusal, changes, place):
    assert f'entry 1: {place}: say "disk", beside control and cmc' in refusal([node(1, **changes)])


@pytest.mark.parametrize("opening", ["[", '[{"control": ', '{"a": [', '[{"disk": [{"x": '])
def test_what_is_nested_without_end_is_one_line(refusal, opening):
    assert "no inventory: nested more than 8 deep" in refusal(opening * 20000)


def test_a_number_without_end_is_one_line(refusal):
    assert "no inventory" in refusal("[" + "9" * 10000 + "]")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "is no file"),
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no file"),
        (lambda path: os.truncate(_written(path), 17 << 20), "is larger than"),
        (lambda path: _written(path).chmod(0o646), "anybody can write it; do: chmod o-w"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
    ids=["FIFO", "directory", "device", "large", "for anybody", "loop"],
)
def test_what_is_no_inventory_of_ours_is_refused_at_once(tmp_path, make, words):
    path = tmp_path / "inventory.json"
    make(path)
    (fault,) = readable_entries(path)[1]
    assert words in fault
    assert str(path) in fault or "/dev/zero" in fault


def _written(path):
    path.write_text(json.dumps([node(1)]))
    return path


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")


@as_root
def test_a_stranger_s_is_refused(tmp_path):
    path = _written(tmp_path / "inventory.json")
    os.chown(path, 4001, 4001)
    (fault,) = readable_entries(path)[1]
    assert fault == (
        f"refused, for it says what to switch and to write: {path}: belongs to uid 4001,"
        f" neither you nor root; as root: chown root {path}"
    )


@as_root
def test_a_link_that_a_stranger_laid_is_not_followed(tmp_path):
    _written(tmp_path / "true.json")
    link = tmp_path / "inventory.json"
    link.symlink_to("true.json")
    assert readable_entries(link)[1] == []
    os.chown(link, 4001, 4001, follow_symlinks=False)
    (fault,) = readable_entries(link)[1]
    assert "is a link that uid 4001 made, and is not followed" in fault


def test_one_that_a_group_keeps_is_read(tmp_path):
    path = _written(tmp_path / "inventory.json")
    path.chmod(0o664)
    assert [entry.name for entry in load_inventory(path)] == ["fit01"]


CARD = {"kind": "cmc", "address": "10.0.1.7"}


def without_cmc(number, **changes):
    return {key: value for key, value in node(number, **changes).items() if key != "cmc"}


def test_what_switches_a_node_is_its_card_where_nothing_else_is_said(load):
    nodes = [*load([node(1), without_cmc(2, power=CARD), node(3, power={"kind": "x"})])]
    (first,), (second,), (third,) = (each.power_drivers for each in nodes)
    assert (first.kind, first.said["address"]) == ("cmc", "10.0.1.1")
    assert (nodes[1].cmc, second.said) == (None, {"address": "10.0.1.7"})
    assert third.kind == "x"
    assert {each.netboot for each in nodes} == {None}


def test_several_may_switch_a_node_of_other_kinds(load):
    (entry,) = load([without_cmc(1, power=[CARD, {"kind": "strip", "outlet": 3}])])
    assert [(each.kind, dict(each.said)) for each in entry.power_drivers] == [
        ("cmc", {"address": "10.0.1.7"}),
        ("strip", {"outlet": 3}),
    ]


@pytest.mark.parametrize(
    ("said", "part", "found"),
    [
        ([], "power", "a list"),
        (["s3cr3t"], "power", "a string"),
        ([CARD, {"password": "s3cr3t"}], "power[2]", "one without"),
        ([[CARD], CARD], "power[1]", "a list"),
    ],
)
def test_each_of_several_has_to_be_named(refusal, said, part, found):
    words = refusal([without_cmc(1, power=said)])
    assert f'entry 1: {part}: expected an object with "kind", found {found}' in words


def test_what_makes_a_node_boot_the_ramdisk_may_be_said(load):
    (first,) = load([node(1, netboot={"kind": "pxelinux", "config_dir": "/srv/tftp/cfg"})])
    assert first.netboot.said == {"config_dir": "/srv/tftp/cfg"}


@pytest.mark.parametrize("part", ["power", "netboot"])
@pytest.mark.parametrize(
    ("said", "found"),
    [("cmc", "a string"), (None, "null"), ([], "a list"), ({"password": "s3cr3t"}, "one without")],
)
def test_a_kind_has_to_be_named(refusal, part, said, found):
    words = refusal([node(1, **{part: said})])
    assert f'entry 1: {part}: expected an object with "kind", found {found}' in words


@pytest.mark.parametrize(
    ("said", "other"),
    [
        ({"port": 80}, {"port": "80"}),
        ({}, {"name": ""}),
        ({"name": "7"}, {"name": 7}),
        ({"name": "7", "port": 80}, {"port": 80, "name": "7"}),
    ],
)
def test_no_two_nodes_are_switched_by_the_same_in_any_words(
    tmp_path, monkeypatch, capsys, said, other
):
    power = {"kind": "cmc", "address": "10.0.1.3"}
    path = tmp_path / "inventory.json"
    path.write_text(
        json.dumps([without_cmc(1, power=power | said), without_cmc(2, power=power | other)])
    )
    conf = tmp_path / "rhubarbe.conf"
    conf.write_text(f"[testbed]\ninventory_path = {path}\n")
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    assert main(["rhubarbe-inventory", "--check"]) == 1
    assert capsys.readouterr().out == f"{path}: fit02: the same power as fit01\n"
    assert main(["rhubarbe-nodes", "1"]) == 1
    assert "fit02: the same power as fit01" in capsys.readouterr().err


def test_nor_by_the_same_input(tmp_path, monkeypatch, capsys):
    """One of several counts as one alone does, and a node has each once."""
    path, conf = tmp_path / "inventory.json", tmp_path / "rhubarbe.conf"
    cards = [{"kind": "cmc", "address": f"10.0.9.{number}"} for number in range(3)]
    path.write_text(
        json.dumps(
            [
                without_cmc(1, power=[cards[0], cards[1], cards[1] | {"name": "again"}]),
                without_cmc(2, power=cards[0]),
                without_cmc(3, power=[cards[2], cards[1]]),
            ]
        )
    )
    conf.write_text(f"[testbed]\ninventory_path = {path}\n")
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    assert main(["rhubarbe-inventory", "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: fit01: power[3]: the same power as fit01: power[2]",
        f"{path}: fit02: the same power as fit01: power[1]",
        f"{path}: fit03: power[2]: the same power as fit01: power[2]",
    ]


@pytest.mark.parametrize("said", [{}, {"name": "7"}, {"port": 80}])
def test_nor_by_the_card_that_another_has_by_cmc(tmp_path, monkeypatch, capsys, said):
    other = node(2)
    power = {"kind": "cmc", "address": other["cmc"]["ip"]} | said
    path, conf = tmp_path / "inventory.json", tmp_path / "rhubarbe.conf"
    path.write_text(json.dumps([without_cmc(1, power=power), other]))
    conf.write_text(f"[testbed]\ninventory_path = {path}\n")
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    assert main(["rhubarbe-inventory", "--check"]) == 1
    assert capsys.readouterr().out == f"{path}: fit02: the same power as fit01\n"
    assert main(["rhubarbe-reset", "1"]) == 1
    assert "fit02: the same power as fit01" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "place", "meant"),
    [
        ({"Power": {"kind": "cmc"}}, "Power", "power"),
        ({"netboots": {"kind": "pxelinux"}}, "netboots", "netboot"),
        ({"cmc": node(1)["cmc"] | {"power": {"kind": "cmc"}}}, "cmc.power", "power"),
    ],
)
def test_a_kind_that_would_be_passed_over_is_a_fault(refusal, changes, place, meant):
    words = refusal([node(1, **changes)])
    assert f'entry 1: {place}: say "{meant}", beside control and cmc' in words


def test_what_is_said_of_a_kind_is_checked_before_anything_is_done(tmp_path, monkeypatch, capsys):
    path = tmp_path / "inventory.json"
    path.write_text(
        json.dumps(
            [
                node(1),
                without_cmc(2, power={"kind": "sledge"}),
                without_cmc(3, power={"kind": "cmc", "colour": "red", "address": "10.0.1.3"}),
                node(4, netboot={"kind": "pxelinux", "entry": ["ramdisk"]}),
            ]
        )
    )
    conf = tmp_path / "rhubarbe.conf"
    conf.write_text(f"[testbed]\ninventory_path = {path}\n")
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    assert main(["rhubarbe-inventory", "--check"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told == [
        f"{path}: fit02: power: there is no kind 'sledge', but {', '.join(sorted(KINDS))}",
        f"{path}: fit03: power: cmc knows no 'colour', but address, name, port",
        f"{path}: fit04: netboot.entry: expected the name of a file in config_dir, found a list",
    ]
    assert main(["rhubarbe-nodes", "1"]) == 1
    assert capsys.readouterr().err == f"rhubarbe-nodes: {told[0]}\n"


YAML = """\
x-defaults: &card {mac: 02-00-00-00-01-01}
nodes:
  - cmc: {hostname: reboot01, ip: 10.0.1.1, <<: *card}
    control:
      hostname: fit01
      ip: 10.0.3.1
      mac: 52:54:00:12:34:56   # in base 60, for YAML of old
    disk: /dev/sdb
    power: {kind: cmc, address: 10.0.1.1, port: 8080}
  - cmc: {hostname: reboot02, ip: 10.0.1.2}
    control: {hostname: fit02, ip: 10.0.3.2, mac: 525400123457}
    data: null
"""


@pytest.mark.parametrize("name", ["inventory-nodes.yaml", "nodes.yml", "Nodes.YAML"])
def test_an_inventory_may_be_yaml(tmp_path, name):
    path = tmp_path / name
    path.write_text(YAML)
    first, second = load_inventory(path)
    assert (first.name, first.control.mac, first.disk) == (
        "fit01",
        "52:54:00:12:34:56",
        "/dev/sdb",
    )
    assert first.power[0].said == {"address": "10.0.1.1", "port": 8080}
    assert (first.cmc.mac, second.cmc.mac) == ("02:00:00:00:01:01", "")
    assert (second.control.mac, second.data) == ("52:54:00:12:34:57", None)


@pytest.mark.parametrize("wrap", [lambda nodes: nodes, lambda nodes: {"nodes": nodes, "x": 1}])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_nodes_may_be_in_an_object_and_begin_with_the_mark_of_windows(tmp_path, wrap, mark):
    path = tmp_path / "inventory.json"
    path.write_bytes(mark + json.dumps(wrap([node(1)])).encode().replace(b", ", b",\r\n"))
    assert [entry.name for entry in load_inventory(path)] == ["fit01"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("ip: 10.0.3.1", "ip: 10.0", "entry 1: control.ip: expected an IPv4 address, found 10.0"),
        ("ip: 10.0.3.1", "\tip: 10.0.3.1", "line 6: "),
        ("disk: /dev/sdb", "disk: on", "entry 1: disk: expected .*found 'on'"),
        ("hostname: fit02", "hostname: no", "entry 2: control.hostname 'no' has no number"),
        ("hostname: fit02", "hostname: 1e3", r"\Z"),
        ("ip: 10.0.3.1\n", "ip: 10.0.3.1\n      ip: 10.0.3.9\n", "line 7: key 'ip' for the second"),
        ("nodes:", "---\nnodes:", "line 2: a second document begins"),
        ("nodes:", "node:", "expected a list of nodes, found an object without nodes"),
    ],
)
def test_a_fault_in_yaml_is_told_in_a_line(tmp_path, old, new, fault):
    path = tmp_path / "inventory.yaml"
    path.write_text(YAML.replace(old, new))
    assert re.match(f"{path}: {fault}", (readable_entries(path)[1] or [f"{path}: "])[0])


@pytest.mark.parametrize("name", ["inventory.json", "inventory.yaml"])
@pytest.mark.parametrize("text", ["root:$6$s3cr3t:20421::\n", "s3cr3t\n", "!s3cr3t", "*s3cr3t"])
def test_a_link_to_a_secret_tells_nothing_of_it(tmp_path, name, text):
    secret = tmp_path / "secret"
    secret.write_text(text)
    secret.chmod(0o600)
    (tmp_path / name).symlink_to(secret)
    _, (fault,) = readable_entries(tmp_path / name)
    assert fault.startswith(f"{tmp_path / name}: ")
    assert "s3cr3t" not in fault
