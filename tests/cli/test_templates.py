"""What a site starts from, and whether it got it right: templates, and the inventory's check."""

from pathlib import Path

import pytest

from rhubarbe.cli.dispatch import main

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
