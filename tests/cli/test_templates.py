"""What a site starts from, and whether it got it right: templates, and the inventory's check."""

import re
from pathlib import Path

import pytest

from rhubarbe.cli.dispatch import main
from rhubarbe.inventory import load_inventory, readable_entries
from rhubarbe.outlets_file import load_outlets

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    conf = tmp_path / "site.conf"
    conf.write_text(f"[testbed]\ninventory_path = {tmp_path}/inventory.json\n")
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_template_of_the_configuration_is_the_sample(site, capsys):
    (site / "site.conf").write_text("[nonsense]\n")  # no obstacle to one who wants a good one
    assert main(["rhubarbe-config", "--template"]) == 0
    assert capsys.readouterr().out == (ROOT / "rhubarbe.conf.sample").read_text()


def test_the_template_of_the_inventory_has_no_fault_until_it_is_spoilt(site, capsys):
    assert main(["rhubarbe-inventory", "--template"]) == 0
    template = capsys.readouterr().out
    path = site / "inventory.json"
    path.write_text(template)
    assert main(["rhubarbe-inventory", "--check"]) == 0
    assert capsys.readouterr().out == f"{path}: no fault\n"
    assert main(["rhubarbe-inventory"]) == 0
    assert capsys.readouterr().out.count("fit0") == 2

    path.write_text(template.replace("192.168.3.2", "192.168.3").replace("reboot01", "?"))
    assert main(["rhubarbe-inventory", "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: entry 1: cmc.hostname: expected a host name, found '?'",
        f"{path}: entry 2: control.ip: expected an IPv4 address, found '192.168.3'",
    ]
    path.write_text("[\n{")
    assert main(["rhubarbe-inventory", "--check"]) == 1
    assert "line 2, column 2: not JSON" in capsys.readouterr().out


def test_the_templates_in_yaml_have_no_fault(site, capsys):
    assert main(["rhubarbe-template", "-n"]) == 0
    path = site / "nodes.yaml"
    path.write_text(capsys.readouterr().out)
    assert readable_entries(path)[1] == []
    assert main(["rhubarbe-inventory", "--template"]) == 0
    (site / "nodes.json").write_text(capsys.readouterr().out)
    assert list(load_inventory(path)) == list(load_inventory(site / "nodes.json"))

    assert main(["rhubarbe-template", "--pdus"]) == 0
    pdus = site / "pdus.yaml"
    pdus.write_text(capsys.readouterr().out)
    (lamp,) = load_outlets(pdus)
    assert [each.name for each in lamp.inputs] == ["pdu1 outlet 1"]


@pytest.mark.parametrize("words", [[], ["-c"]])
def test_a_template_is_the_configuration_s_unless_another_is_wanted(site, capsys, words):
    (site / "site.conf").write_text("[nonsense]\n")
    assert main(["rhubarbe-template", *words]) == 0
    assert capsys.readouterr().out == (ROOT / "rhubarbe.conf.sample").read_text()


def test_a_template_of_phones_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["rhubarbe-template", "-p"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith("error: argument -p: phones are left out\n")


@pytest.fixture
def notice(site):
    """Have a key in the configuration that has no effect; return the line on it."""
    conf = site / "site.conf"
    conf.write_text(conf.read_text() + "[frisbee]\nnetcat_style = fedora\n")
    return (
        f"{conf}: without effect: [frisbee] netcat_style (a save runs no netcat on the gateway)\n"
    )


def test_what_has_no_effect_is_told_once_and_by_config_always(site, notice, capsys):
    for command, told in (
        (["rhubarbe", "images"], notice),
        (["rhubarbe", "images"], ""),
        (["rhubarbe", "config", "frisbee"], notice),
        (["rhubarbe", "leases"], ""),
    ):
        assert main(command) == 0
        shown = capsys.readouterr()
        assert shown.err == told
        assert "netcat_style" not in shown.out
    conf = site / "site.conf"
    conf.write_text(conf.read_text() + "[sidecar]\nurl = wss://x/\n")
    main(["rhubarbe", "images"])
    assert "[sidecar] url (" in capsys.readouterr().err


def test_where_nothing_can_be_kept_it_is_told_each_time(site, notice, capsys, monkeypatch):
    (site / ".local").write_text("no directory")
    for environ in ({"HOME": str(site)}, {"HOME": "/nowhere"}, {"HOME": "/proc/self/fdinfo"}):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        for _ in range(2):
            assert main(["rhubarbe", "images"]) == 0
            assert capsys.readouterr().err == notice


def test_nothing_is_kept_through_a_link(site, notice, capsys):
    kept = site / ".local" / "state" / "rhubarbe"
    kept.mkdir(parents=True)
    (kept / "told").symlink_to(site / "precious")
    (site / "precious").write_text("precious")
    assert main(["rhubarbe", "images"]) == 0
    assert capsys.readouterr().err == notice
    assert (site / "precious").read_text() == "precious"


def test_what_is_kept_is_no_text_of_the_user_s(site, notice, capsys, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(site / "state"))
    main(["rhubarbe", "images"])
    kept = (site / "state" / "rhubarbe" / "told").read_text()
    assert re.fullmatch("[0-9a-f]{64}\n", kept)
    assert not (site / ".local").exists()


def test_the_check_of_the_inventory_tells_of_the_pdus_too(site, capsys):
    main(["rhubarbe-inventory", "--template"])
    (site / "inventory.json").write_text(capsys.readouterr().out)
    conf, pdus = site / "site.conf", site / "pdus.yaml"
    conf.write_text(conf.read_text() + f"inventory_pdus_path = {pdus}\n")
    pdus.write_text("pdu_hosts:\ndevices:\n- {name: fan, inputs: []}\n")
    assert main(["rhubarbe-inventory", "--check"]) == 1
    assert capsys.readouterr().out == (
        f"{pdus}: devices: entry 1: inputs: expected where it is plugged in, as in"
        " [{pdu_host_name: pdu1, outlet: 1}], found nothing\n"
    )


@pytest.mark.parametrize(("said", "code"), [("true", 0), ("yes", 0), ("no", 0), ("maybe", 1)])
def test_yes_and_no_in_an_inventory_may_be_said_as_yaml_and_json_do(site, capsys, said, code):
    path = site / "nodes.yaml"
    path.write_text(
        "nodes:\n- control: {hostname: fit01, ip: 10.0.0.1, mac: 02:00:00:00:00:01}\n"
        "  power: {kind: redfish, address: 10.0.1.1, user: a, password: 0123,"
        f" insecure: {said}}}\n"
    )
    path.chmod(0o600)
    conf = site / "site.conf"
    conf.write_text(f"[testbed]\ninventory_path = {path}\n")
    assert main(["rhubarbe-inventory", "--check"]) == code, capsys.readouterr().out
