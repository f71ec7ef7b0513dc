"""The verbs that only tell: nodes, inventory, config, images."""

import pytest

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


def lines(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_nodes(twelve):
    assert lines(twelve.run("rhubarbe-nodes", "1-3", "~2")) == ["fit01 fit03"]
    assert lines(twelve.run("rhubarbe-nodes", "-a", "--fold", "~4-6")) == ["1-3,7-12"]
    assert lines(twelve.run("rhubarbe-main.py", "nodes", "12")) == ["fit12"]


def test_inventory(twelve):
    header, *rows = lines(twelve.run("rhubarbe-inventory"))
    assert header.split()[:4] == ["node", "control", "ip", "mac"]
    assert len(rows) == 12
    assert rows[0].split()[:2] == ["1", "fit01"]


def test_config_says_where_each_value_comes_from(twelve):
    told = lines(twelve.run("rhubarbe-config", "networking", "pxelinux"))
    assert "[networking]" in told
    assert "[frisbee]" not in told
    ssh_key = next(line for line in told if line.startswith("ssh_key"))
    assert ssh_key.endswith("rhubarbe.conf")
    pattern = next(line for line in told if line.startswith("pattern_size"))
    assert pattern.endswith("built-in default")
    assert twelve.run("rhubarbe-config", "nonsense").returncode == 1


def test_images(twelve):
    (twelve.directory / "images" / "dangling.ndz").symlink_to("gone.ndz")
    for name in ("rhubarbe-images", "rhubarbe-list"):
        header, row, *rest = lines(twelve.run(name))
        assert header.endswith("images: 1 image")
        assert row.split()[3] == "sample"
        assert row.endswith("a.k.a. default")
        assert rest == []
    assert "no images" in lines(twelve.run("rhubarbe-images", "nothing"))[0]


def test_a_reader_that_goes_away_is_no_traceback(twelve):
    result = twelve.run("sh", "-c", "rhubarbe-config | head -1")
    assert result.stderr == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("verb", ["nodes 1", "inventory", "config", "images", "load --help"])
def test_an_output_without_room_is_one_line(twelve, verb, unbuffered):
    result = twelve.run("sh", "-c", f"rhubarbe-{verb} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    program = f"rhubarbe-{verb.split()[0]}"
    if unbuffered and "--help" in verb:
        assert (result.returncode, result.stderr) == (0, "")  # argparse minds its own
        return
    assert result.returncode == 1
    assert result.stderr == (f"{program}: the output cannot be written: No space left on device\n")


def test_an_output_that_was_closed_is_no_traceback(twelve):
    result = twelve.run("sh", "-c", "rhubarbe-nodes 1 >&-")
    assert (result.returncode, result.stderr) == (0, "")
