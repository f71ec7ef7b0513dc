"""Which nodes a command touches, and what it refuses before it touches any."""

import pytest

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


def touched(testbed, before):
    """Return the numbers of the nodes whose cards got an order since `before`."""
    return {
        int(word[3:])
        for line in testbed.log()[len(before) :].splitlines()
        for word in line.split()
        if " card " in line and word.startswith("fit") and word[3:].isdigit()
    }


def one_line(result):
    assert result.returncode == 1, result.stdout + result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (["1-12", "~4-6"], {}, {1, 2, 3, 7, 8, 9, 10, 11, 12}),
        ([], {"NODES": "fit02 4"}, {2, 4}),
        (["-a", "~4"], {"ALL_NODES": "2-5"}, {2, 3, 5}),
        (["-a", "~1-10"], {}, {11, 12}),
        (["reboot03,fit05"], {"NODES": "1"}, {3, 5}),
    ],
)
def test_touches_the_selected_nodes_only(twelve, words, environ, expected):
    before = twelve.log()
    loaded = twelve.run("rhubarbe-load", "-i", "sample", *words, **environ)
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert touched(twelve, before) == expected


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["rhubarbe-load", "-i", "sample", "1-12", "fit15-reboot18", "~4-6"], "15-18"),
        (["rhubarbe-load", "ubuntu", "1-3"], "is -i missing"),
        (["rhubarbe-load", "-i", "smaple", "1"], "sample"),
        (["rhubarbe-load", "-i", "sample"], "no node is selected"),
        (["rhubarbe-load", "-i", "sample", "~3"], "no node is selected"),
        (["rhubarbe-load", "-i", "sample", "3-1"], "1-3"),
        (["rhubarbe-save", "1-2"], "one is saved at a time"),
        (["rhubarbe-save", "1", "-o", "no/such/place"], "no such directory"),
        (["rhubarbe-wait", "20"], "not in the inventory: 20"),
    ],
)
def test_refuses_in_one_line_before_anything_is_touched(twelve, command, says):
    before = twelve.log()
    assert says in one_line(twelve.run(*command))
    assert touched(twelve, before) == set()


def test_a_card_with_another_number_belongs_to_the_control_name(make_testbed):
    testbed = make_testbed("--node-numbers", "1-2,41", "--card", "fit41:15", "--boot-time", "0.5")
    loaded = testbed.run("rhubarbe-load", "41")
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert "reboot15 says ok" in loaded.stdout
    assert "good: 41" in loaded.stdout
    assert "15" in one_line(testbed.run("rhubarbe-load", "15"))


def test_refuses_images_that_are_not_whole(twelve):
    whole = (twelve.directory / "images" / "sample.ndz").read_bytes()
    damaged = bytearray(whole)
    damaged[2 * 1048576 + 9999] ^= 1
    for name, content in {
        "cut.ndz": whole[: 3 << 20],
        "odd.ndz": whole[:-5],
        "damaged.ndz": bytes(damaged),
        "empty.ndz": b"",
        "early.ndz.partial": whole[: 1 << 20],
    }.items():
        (twelve.directory / name).write_bytes(content)
    before = twelve.log()
    for name in ("cut", "odd", "damaged", "empty", "early", "early.ndz.partial"):
        result = twelve.run("rhubarbe-load", "-i", name, "1")
        assert result.returncode == 1, name
        assert name in result.stderr
    assert "chunk 2" in twelve.run("rhubarbe-load", "-i", "damaged", "1").stderr
    assert touched(twelve, before) == set()


def test_bad_configuration_is_one_line(twelve, tmp_path):
    path = tmp_path / "bad.conf"
    path.write_text("[networking]\nbandwidth = fast\n")
    line = one_line(twelve.run("rhubarbe-load", "1", RHUBARBE_CONF=str(path)))
    for part in (str(path), "networking", "bandwidth", "fast", "whole number"):
        assert part in line
    inventory = tmp_path / "inventory.json"
    inventory.write_text('[\n{"control": \n')
    path.write_text(f"[testbed]\ninventory_path = {inventory}\n")
    line = one_line(twelve.run("rhubarbe-nodes", "1", RHUBARBE_CONF=str(path)))
    assert f"{inventory}: line 3" in line
