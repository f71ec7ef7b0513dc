"""Configurations in the form of rhubarbe 9.5: they are read as they are, key by key."""

import os
import re
from pathlib import Path

import pytest

from rhubarbe.config import implied
from rhubarbe.config.former import LEFT_OUT_KEYS, LEFT_OUT_SECTIONS, RENAMED
from rhubarbe.shared.own import is_there

TABLE = Path(__file__).parents[1] / "data" / "9.5" / "keys.tsv"
LINES = [line.split("\t") for line in TABLE.read_text().splitlines() if line[0] != "#"]
KEYS = {key: (value, becomes) for key, value, becomes in LINES}


def written(keys):
    """Return these keys as a file that sets them."""
    sections: dict[str, list[str]] = {}
    for key, value in keys.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(f"{name} = {value}")
    return "".join(f"[{name}]\n" + "\n".join(lines) + "\n\n" for name, lines in sections.items())


ALL = written({key: value for key, (value, _) in KEYS.items()})


@pytest.mark.parametrize("layer", ["etc", "local", "home", "here", "here, local"])
def test_a_whole_file_is_read_from_wherever_9_5_has_it(site, layer):
    path = site.write(layer, ALL)
    settings = site.load()
    for key, (_, becomes) in KEYS.items():
        ours = becomes.removeprefix("is ")
        section, _, name = (key if ours in ("same", "root") else ours).partition(".")
        origin = settings.origins.get((section, name))
        counts = becomes == "root" and layer in ("etc", "local") and not os.getuid()
        assert (origin is None) == (becomes == "out" or (becomes == "root" and not counts)), key
        assert origin is None or origin.startswith(str(path))
    assert settings.testbed.inventory_path == Path("/etc/rhubarbe/inventory-nodes.yaml")
    assert settings.networking.telnet_timeout == 0.5


def test_keys_that_have_no_effect_are_named_once_with_what_there_is_instead(site):
    path = site.write("local", ALL)
    (notice,) = site.load().notices
    assert notice.startswith(f"{path}: ")
    assert "\n" not in notice
    told = re.findall(r"\[\w+\] [\w.]+", re.sub(r"\([^)]*\)", "", notice))
    left_out = ("out",) if os.getuid() == 0 else ("out", "root")
    out = [key for key, (_, becomes) in KEYS.items() if becomes in left_out]
    assert sorted(told) == sorted("[{}] {}".format(*key.split(".")) for key in out)
    assert "telnet_timeout is for the whole of a try" in notice
    assert "s3cr3t" not in notice


def test_each_file_has_its_notice_and_one_without_such_keys_has_none(site):
    assert site.load().notices == ()
    site.write("etc", "[networking]\nbandwidth = 3\n")
    assert site.load().notices == ()
    local = site.write("local", "[frisbee]\nnetcat_style = fedora\n")
    here = site.write("here", "[sidecar]\nurl.faraday = wss://x/\n")
    first, second = site.load().notices
    assert first.startswith(f"{local}: ")
    assert "[frisbee] netcat_style (" in first
    assert second.startswith(f"{here}: ")
    assert "[sidecar] url.faraday (" in second


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[testbed]\ninventory_node_path = /x\n", "did you mean inventory_path?"),
        ("[nodes]\nload_nightly_timeouts = 3\n", "unknown key 'load_nightly_timeouts'"),
        ("[networking]\nbandwith = 3\n", "did you mean bandwidth?"),
        ("[monitors]\ncycle_nodes = 3\n", "unknown section [monitors]"),
        ("[nodes]\nwait_default_timeout = soon\n", "key wait_default_timeout: bad value 'soon'"),
        ("[testbed]\ninventory_nodes_path =\n", "key inventory_nodes_path: bad value ''"),
    ],
)
def test_what_neither_has_is_refused_though_the_file_is_in_its_form(site, text, words):
    site.write("etc", ALL)
    site.write("here", text)
    assert words in site.refusal()


def test_a_key_of_another_name_counts_in_its_layer_and_for_its_host(site):
    site.write("etc", "[testbed]\ninventory_path = /etc/ours.json\n")
    local = site.write("local", "[testbed]\ninventory_nodes_path = /etc/nodes.yaml\n")
    settings = site.load()
    assert settings.testbed.inventory_path == Path("/etc/nodes.yaml")
    origin = settings.origins["testbed", "inventory_path"]
    assert origin == f"{local} (inventory_nodes_path)"
    site.write("here", "[testbed]\ninventory_nodes_path.faraday = /etc/faraday.yaml\n")
    assert site.load().testbed.inventory_path == Path("/etc/faraday.yaml")


@pytest.mark.parametrize("order", [1, -1])
def test_where_a_file_has_both_names_ours_counts(site, order):
    lines = ["inventory_nodes_path = /etc/theirs.yaml", "inventory_path = /etc/ours.json"]
    site.write("here", "[testbed]\n" + "\n".join(lines[::order]) + "\n")
    assert site.load().testbed.inventory_path == Path("/etc/ours.json")


def test_an_inventory_at_its_usual_place_is_found_where_none_is_named(site, monkeypatch):
    default = site.load().testbed.inventory_path
    assert default == Path("/etc/rhubarbe/inventory.json")
    # Also on a machine that is a gateway.
    monkeypatch.setattr(implied, "is_there", lambda path: path != default and is_there(path))
    site.inventory.write_text("nodes: []\n")
    assert site.load().testbed.inventory_path == site.inventory
    site.write("here", f"[testbed]\ninventory_path = {default}\n")
    assert site.load().testbed.inventory_path == default


URL = "[r2labapi]\nurl = https://reservations.example.org:443/\n"


def test_a_site_that_names_its_reservation_service_asks_it(site):
    assert site.load().leases.backend == "none"
    etc = site.write("etc", URL)
    settings = site.load()
    assert settings.leases.backend == "r2labapi"
    assert settings.origins["leases", "backend"] == f"{etc} (url in [r2labapi])"
    site.write("local", "[leases]\nbackend = none\n")
    assert site.load().leases.backend == "none"
    site.write("etc", "[r2labapi]\nurl =\n")
    site.files["local"].unlink()
    assert site.load().leases.backend == "none"


def test_no_user_can_decide_that_it_is_not_asked(site):
    etc = site.write("local", URL)
    site.write("here", "[leases]\nbackend = none\n")
    assert f"key backend: {etc} decides this for all users" in site.refusal()


def test_a_file_may_begin_with_the_mark_of_windows_and_have_its_ends_of_lines(site):
    path = site.files["here"]
    path.write_bytes(b"\xef\xbb\xbf[networking]\r\nbandwidth = 7\r\n")
    path.chmod(0o600)
    assert site.load().networking.bandwidth == 7


def test_who_works_where_the_site_s_files_are_is_told_once_and_overrides_nothing(site, monkeypatch):
    text = "[leases]\nbackend = local\n[frisbee]\nnetcat_style = fedora\n"
    etc, local = site.write("etc", text), site.write("local", text)
    monkeypatch.chdir(etc.parent)
    settings = site.load()
    assert settings.leases.backend == "local"
    assert [notice.partition(": ")[0] for notice in settings.notices] == [str(etc), str(local)]


def test_a_key_for_each_of_many_gateways_makes_no_long_line(site):
    site.write("etc", "[frisbee]\n" + "".join(f"netcat_style.gw{n} = x\n" for n in range(999)))
    (notice,) = site.load().notices
    assert "[frisbee] netcat_style.gw0, " in notice
    assert " and 983 more (" in notice


def test_no_key_of_ours_is_among_those_left_out():
    from rhubarbe.config import SECTIONS

    ours = {f"{name}.{key}" for name, section in SECTIONS.items() for key in section.declared()}
    assert ours.isdisjoint({*RENAMED, *LEFT_OUT_KEYS})
    assert ours.issuperset(RENAMED.values())
    assert all({*LEFT_OUT_KEYS.values(), *LEFT_OUT_SECTIONS.values()})
