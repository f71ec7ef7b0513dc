"""The verbs that only tell: nodes, inventory, config, and what a site starts from."""

import json

import pytest
from emulated import Place
from golden import assert_golden, transcript

CONF = """\
[testbed]
inventory_path = {directory}/inventory.json
all_scope = 1-12
[frisbee]
images_dir = {directory}/images
[pxelinux]
frisbee_image = pxefrisbee
frisbee_image.fit03 = pxefrisbee-uefi
[r2labapi]
admin_token = a secret
"""


def entry(number, **more):
    """Return a node as the inventory has it."""
    return {
        part: {
            "hostname": f"{name}{number:02}",
            "ip": f"10.0.{network}.{number}",
            "mac": f"02:00:00:00:{network:02x}:{number:02x}",
        }
        for network, (part, name) in enumerate([("cmc", "reboot"), ("control", "fit")])
    } | more


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A gateway of twelve nodes, none of which is there."""
    place = Place(tmp_path_factory.mktemp("gateway"))
    place.configure(CONF.format(directory=place.directory))
    describe(place, [entry(number) for number in range(1, 13)])
    images = place.directory / "images"
    images.mkdir()
    (images / "fedora.ndz").touch()
    (images / "default.ndz").symlink_to("fedora.ndz")
    return place


def describe(place, entries):
    (place.directory / "inventory.json").write_text(json.dumps(entries, indent=1))


def test_nodes(site):
    shown = transcript(
        site,
        "rhubarbe-nodes 1-3 '~2'",
        "rhubarbe-nodes 3 fit01,reboot02 2",
        "rhubarbe-nodes --fold -a '~4-6'",
        "rhubarbe-nodes --count 1-12-3",
        "rhubarbe-main.py nodes 12",
        "rhubarbe-nodes",
        "rhubarbe-nodes 11-14 99",
        "rhubarbe-nodes 12-1",
        "rhubarbe-nodes 1-5-0",
        "rhubarbe-nodes ubuntu",
        "rhubarbe-nodes 1 '~1'",
        "rhubarbe-nodes --image never-loaded 1-3",
    )
    assert_golden("telling/nodes", shown)


def test_the_selection_of_the_environment(site):
    shown = transcript(site, "rhubarbe-nodes", "rhubarbe-nodes -a", NODES="3 5", ALL_NODES="1-2")
    assert_golden("telling/environment", shown)


def test_config(site):
    shown = transcript(
        site,
        "rhubarbe-config leases r2labapi",
        "sh -c 'rhubarbe-config pxelinux | grep frisbee'",
        "rhubarbe-config nonsense",
    )
    assert_golden("telling/config", shown)


def test_the_verbs(site):
    shown = transcript(
        site,
        "rhubarbe-main.py --help",
        "rhubarbe-main.py --version",
        "sh -c 'rhubarbe-nodes --fold --count 1 2>&1 | tail -1'",
    )
    version = site.run("rhubarbe-nodes", "--version").stdout.split()[1]
    assert_golden("telling/verbs", shown.replace(version, "VERSION"))


def test_inventory(tmp_path):
    """The faults are those that a person makes who writes one by hand."""
    place = Place(tmp_path)
    place.configure(CONF.format(directory=tmp_path))
    assert place.run("sh", "-c", "rhubarbe-inventory --template > inventory.json").returncode == 0
    shown = transcript(place, "rhubarbe-inventory", "rhubarbe-inventory --check")
    describe(place, bad_entries())
    shown += transcript(place, "rhubarbe-inventory --check", "rhubarbe-nodes 1")
    (tmp_path / "inventory.json").write_text('[\n  {"cmc": {},\n  {"control": {}}\n]\n')
    shown += transcript(place, "rhubarbe-inventory --check")
    (tmp_path / "inventory.json").write_text('{"fit01": {}}')
    shown += transcript(place, "rhubarbe-inventory --check", "rhubarbe-inventory")
    (tmp_path / "inventory.json").unlink()
    shown += transcript(place, "rhubarbe-inventory --check", "rhubarbe-inventory --template")
    assert_golden("telling/inventory", shown)


def bad_entries():
    no_number, no_mac, no_card = entry(5), entry(6), entry(7)
    no_number["control"]["hostname"] = "gateway"
    del no_mac["control"]["mac"]
    del no_card["cmc"]
    short_mac, address, same_card = entry(8), entry(9), entry(10)
    short_mac["cmc"]["mac"] = "02:00:00"
    address["control"] |= {"ip": "10.0.1.300", "hostname": "fit 09"}
    same_card["cmc"]["ip"] = "10.0.0.1"
    data = entry(11, data={"hostname": "data11"})
    return [
        *(entry(1), entry(2), entry(2), entry(4, cmc="reboot04"), no_number, no_mac, no_card),
        *(short_mac, address, same_card, data, "fit12"),
    ]


def test_completion(site):
    shown = transcript(
        site,
        "sh -c 'rhubarbe-completion nodes | tail -3'",
        "rhubarbe-completion images",
        "sh -c 'rhubarbe-completion bash | tail -1'",
    )
    assert_golden("telling/completion", shown)


def test_a_reader_that_goes_away_is_no_traceback(site):
    result = site.run("sh", "-c", "rhubarbe-config | head -1")
    assert result.stderr == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "verb",
    ["nodes 1", "inventory", "config", "images", "load --help", "save --version", "main.py --help"],
)
def test_an_output_without_room_is_one_line(site, verb, unbuffered):
    result = site.run("sh", "-c", f"rhubarbe-{verb} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    program = f"rhubarbe-{verb.split()[0]}"
    assert result.returncode == 1
    assert result.stderr == (f"{program}: the output cannot be written: No space left on device\n")


def test_an_output_that_was_closed_is_no_traceback(site):
    result = site.run("sh", "-c", "rhubarbe-nodes 1 >&-")
    said = "rhubarbe-nodes: the output cannot be written: Bad file descriptor\n"
    assert (result.returncode, result.stderr) == (1, said)
