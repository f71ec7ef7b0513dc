"""The sample files at the root say what the program believes."""

import json
import re
from pathlib import Path

import pytest

from rhubarbe.config import SECTIONS, Settings, load_settings
from rhubarbe.config.template import template
from rhubarbe.inventory import load_inventory

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "rhubarbe.conf.sample"
SETTINGS = [(section, key) for section in SECTIONS for key in SECTIONS[section].declared()]


def test_the_sample_is_what_the_declarations_make():
    assert SAMPLE.read_text() == template()


@pytest.mark.parametrize(("section", "key"), SETTINGS, ids=map(".".join, SETTINGS))
def test_each_setting_is_in_its_section_with_its_words(section, key):
    text = SAMPLE.read_text().partition(f"[{section}]")[2].partition("\n[")[0]
    assert f"\n# {key} =" in text
    assert SECTIONS[section].declared()[key].help.split()[0] in text


def test_the_sample_with_its_values_uncommented_is_the_defaults(tmp_path):
    text = re.sub(r"(?m)^# (\w+ =)", r"\1", SAMPLE.read_text())
    active = tmp_path / "rhubarbe.conf"
    active.write_text(text)
    active.chmod(0o600)
    read = load_settings({"RHUBARBE_CONF": str(active)})
    for section, key in SETTINGS:
        if not SECTIONS[section].declared()[key].by_root:
            assert read.origins[section, key] == str(active)
        assert getattr(read, section) == getattr(Settings(), section)


def test_the_sample_inventory_has_four_nodes():
    nodes = list(load_inventory(ROOT / "inventory.json.sample"))
    assert [node.number for node in nodes] == [1, 2, 3, 41]
    assert [node.name for node in nodes if node.data is None] == ["fit03"]
    assert nodes[3].cmc.hostname == "reboot15"
    assert nodes[1].control.mac == "02:00:00:00:03:0a"
    assert nodes[2].control.mac == "02:00:00:00:03:0b"


def test_the_sample_inventory_writes_addresses_in_several_ways():
    text = json.dumps(json.loads((ROOT / "inventory.json.sample").read_text()))
    assert all(spelling in text for spelling in ("02:00:00", "02-00-00", "0200.0000"))
