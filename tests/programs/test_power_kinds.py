"""Nodes of every kind of power control by a program, each with the real counterpart, are loaded."""

import asyncio
import re
import subprocess

import pytest
from emulated import start_testbed

pytestmark = [pytest.mark.testbed, pytest.mark.full]
PASSWORDS = ("ipmi.password", "snmp.password")


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    """Two nodes of each kind, and one of each whose control is broken in some way."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("kinds") / "testbed",
        *("--nodes", "9", "--power", "command,ipmi,snmp", "--boot-time", "0.5"),
        *(
            "--fault",
            "fit07:card-500",
            "--fault",
            "fit08:card-refuses",
            "--fault",
            "fit09:card-dead",
        ),
    )
    yield testbed
    testbed.end()


async def test_good_nodes_are_loaded_and_broken_controls_are_told(testbed):
    """No password shows meanwhile: in no list of processes, and nowhere in what is said."""
    passwords = [(testbed.directory / "run" / name).read_text().strip() for name in PASSWORDS]
    words = ("rhubarbe-load", "--wait", "-i", "sample", "1-9")
    seen = ""
    async with asyncio.TaskGroup() as group:
        load = group.create_task(asyncio.to_thread(testbed.run, *words))
        while not load.done():
            seen += await asyncio.to_thread(_processes)
            await asyncio.sleep(0.05)
    said = load.result().stdout + load.result().stderr
    assert load.result().returncode == 1, said
    assert re.search(r"(?m)^good: 1-6$", said), said
    for node, reason in (
        ("fit07", "ends status with status 1"),
        ("fit08", "refuses status with the password of operator"),
        ("fit09", "no answer in 3 s to status"),
    ):
        assert re.search(rf"{node}: FAILED in .*{reason}", said), said
    assert "ipmitool" in seen
    assert "snmpget" in seen
    kept = "".join(
        path.read_text(errors="replace")
        for path in (testbed.directory / "state").rglob("*")
        if path.is_file()
    )
    for password in passwords:
        assert len(password) == 16
        assert password not in seen + said + kept


def _processes():
    shown = subprocess.run(["ps", "axeww"], capture_output=True, check=True)
    return shown.stdout.decode(errors="replace")


def test_states_are_told(testbed):
    status = testbed.run("rhubarbe-status", "1-6")
    assert status.stdout == "1-6: on\n", status.stdout
    assert testbed.run("rhubarbe-off", "1-6").returncode == 0
    assert testbed.run("rhubarbe-status", "1-6").stdout == "1-6: off\n"
