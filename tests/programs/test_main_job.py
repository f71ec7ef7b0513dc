"""The main job: load, wait, save, load what was saved; proven on the disks by e2fsprogs."""

import subprocess

import pytest
from emulated import PARTITION, differing_blocks, events, tool

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


def stamp(disk):
    return tool("debugfs", "-R", "cat /etc/rhubarbe-image", f"{disk}?offset={PARTITION}")


def test_load_wait_save_load(twelve):
    loaded = twelve.run("rhubarbe-load", "-i", "sample", "1-12")
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert "good: 1-12" in loaded.stdout
    assert twelve.links() == []
    for number in range(1, 13):
        assert differing_blocks(twelve.disk(f"fit{number:02}"), twelve.source) == []

    waited = twelve.run("rhubarbe-wait", "1-12")
    assert waited.returncode == 0, waited.stdout + waited.stderr

    saved = twelve.run("rhubarbe-save", "4", "-o", "mine", "-c", "it's; $(mine)")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    assert not (twelve.directory / "mine.ndz.partial").exists()

    again = twelve.run("rhubarbe-load", "-i", "mine", "5")
    assert again.returncode == 0, again.stdout + again.stderr
    assert twelve.run("rhubarbe-wait", "5").returncode == 0
    last = stamp(twelve.disk("fit05")).splitlines()[-1]
    assert "node fit04" in last
    assert "image mine" in last
    assert last.endswith("it's; $(mine)")
    assert stamp(twelve.disk("fit06")).count("\n") == stamp(twelve.disk("fit05")).count("\n") - 1

    log = (twelve.directory / "rhubarbe.log").read_text()
    assert "Joined the team" in log
    assert "Image size" in log


def test_refuses_to_overwrite_a_saved_image(twelve):
    (twelve.directory / "taken.ndz").write_bytes(b"precious")
    saved = twelve.run("rhubarbe-save", "4", "-o", "taken")
    assert saved.returncode == 1
    assert "exists already" in saved.stderr
    assert (twelve.directory / "taken.ndz").read_bytes() == b"precious"


def test_two_loads_at_once_use_two_sessions(twelve):
    (twelve.directory / "other.ndz").write_bytes(
        (twelve.directory / "images" / "sample.ndz").read_bytes()
    )
    commands = [
        twelve.start("rhubarbe-load", "--json", "-i", image, nodes, stderr=subprocess.DEVNULL)
        for image, nodes in (("sample", "1-6"), ("other", "7-12"))
    ]
    outputs = [command.communicate(timeout=90)[0] for command in commands]
    assert [command.returncode for command in commands] == [0, 0], outputs
    sessions = [
        (event["group"], event["port"])
        for output in outputs
        for event in events(output)
        if event["event"] == "ImageServed"
    ]
    assert len(sessions) == 2
    assert sessions[0][0] != sessions[1][0]
    assert sessions[0][1] != sessions[1][1]
    for number in range(1, 13):
        assert differing_blocks(twelve.disk(f"fit{number:02}"), twelve.source) == []


def test_loads_by_name_of_the_main_program(twelve):
    assert twelve.run("rhubarbe-main.py", "load", "3").returncode == 0
    assert twelve.run("rhubarbe-main.py", "wait", "3").returncode == 0


def test_no_reset_loads_a_node_that_is_in_the_ramdisk(twelve):
    row = next(
        line for line in twelve.run("rhubarbe-inventory").stdout.splitlines() if "fit08" in line
    )
    path = twelve.directory / "pxelinux.cfg" / f"01-{row.split()[3].replace(':', '-')}"
    path.symlink_to("pxefrisbee")
    twelve.ask_card("fit08", "reset")
    before = twelve.log().count("fit08")
    loaded = twelve.run("rhubarbe-load", "-n", "8")
    path.unlink()
    assert loaded.returncode == 0, loaded.stdout
    assert differing_blocks(twelve.disk("fit08"), twelve.source) == []
    assert "reset" not in "".join(twelve.log().split("fit08")[before + 2 :])
