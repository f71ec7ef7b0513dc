"""Nodes that controllers switch by Redfish: sushy-emulator's, by TLS, with sessions."""

import json
import re
import signal
from pathlib import Path

import pytest
from emulated import differing_blocks, events, wait_for_event, wait_until
from secrecy import LIMITS, patient

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(180)]

FAULTS = {
    3: ("card-refuses", "refuses status to this user and password: HTTP status 401"),
    4: ("card-500", "answers status with HTTP status 500"),
    5: ("card-silent", f"no answer in {LIMITS['cmc_default_timeout']} s to status"),
    6: ("card-dead", "cannot be reached for status"),
    7: ("card-lies", "says ok to reset and to off, but the node stays up"),
    8: ("card-late", ""),
}


def sessions(testbed):
    log = (testbed.directory / "run/redfish.log").read_text()
    return [sorted(re.findall(rf"session {what}: (.*)", log)) for what in ("begins", "ends")]


def command_lines():
    for entry in Path("/proc").iterdir():
        for name in ("cmdline", "environ"):
            try:
                yield (entry / name).read_bytes()
            except OSError:
                continue


def secrets_of(testbed):
    return (testbed.directory / "controllers.password").read_text().strip()


def test_the_good_are_loaded_and_the_faults_named(make_testbed):
    words = [word for n, (name, _) in FAULTS.items() for word in ("--fault", f"fit0{n}:{name}")]
    testbed = make_testbed("--nodes", "8", "--power", "redfish", "--boot-time", "0.3", *words)
    patient(testbed.directory / "rhubarbe.conf")
    secret, seen = secrets_of(testbed), []
    load = ("rhubarbe-load", "--json", "--wait", "--retries", "0", "1-8")
    with testbed.start(*load) as loading:
        wait_for_event(loading, "PhaseDone")
        seen += command_lines()
        said, _ = loading.communicate(timeout=120)
    finished = events(said)[-1]
    assert finished["good"] == "1-2,8", said
    reasons = {each["number"]: each["reason"] for each in finished["nodes"]}
    for number, (_, reason) in FAULTS.items():
        assert reason in (reasons[number] or ""), reasons[number]
    for number in (1, 2, 8):
        assert differing_blocks(testbed.disk(f"fit0{number}"), testbed.source) == []
    checked = testbed.run("rhubarbe-inventory", "--check")
    shown = testbed.run("rhubarbe-status", "-v", "1-8")
    assert "fit01: on" in shown.stdout or "1-2,7-8: on" in shown.stdout
    logs = [path.read_text() for path in testbed.directory.glob("**/*.log")]
    for text in (said, checked.stdout, shown.stdout, shown.stderr, *logs):
        assert secret not in text
    assert not [line for line in seen if secret.encode() in line]
    begun, ended = sessions(testbed)
    assert begun
    assert begun == ended  # whoever gave up while one began could not end it: hence the patience


def test_without_any_link(make_testbed):
    testbed = make_testbed(
        *("--nodes", "2", "--power", "redfish,cmc", "--netboot", "redfish", "--boot-time", "0.5")
    )
    entries = json.loads((testbed.directory / "inventory.json").read_text())
    assert entries[0]["netboot"] == {"kind": "redfish"}
    assert "netboot" not in entries[1]
    assert "power" not in entries[1]
    with testbed.start("rhubarbe-load", "--json", "--wait", "1-2") as loading:
        wait_for_event(loading, "PhaseDone")
        assert [name for name in testbed.links() if name.endswith("01")] == []
        said, _ = loading.communicate(timeout=60)
    assert events(said)[-1]["good"] == "1-2", said
    for name in ("fit01", "fit02"):
        assert differing_blocks(testbed.disk(name), testbed.source) == []
    boots_the_ramdisk_once_after_a_command_that_was_killed(testbed)
    boots_its_disk_where_another_command_came_before(testbed)


def kill_a_load_once_it_has_asked(testbed):
    """Before the node goes down."""
    log = testbed.log()
    with testbed.start("rhubarbe-load", "--json", "1") as loading:
        wait_until(lambda: "is to boot from the network once" in testbed.log()[len(log) :])
        loading.send_signal(signal.SIGKILL)
        loading.communicate()


def boots_the_ramdisk_once_after_a_command_that_was_killed(testbed):
    kill_a_load_once_it_has_asked(testbed)
    for what in ("ramdisk", "disk"):
        log = testbed.log()
        testbed.run("rhubarbe-reset", "1")
        wait_until(lambda of=log, what=what: f"fit01 boots {what}" in testbed.log()[len(of) :])
    assert testbed.run("rhubarbe-wait", "1").returncode == 0


def boots_its_disk_where_another_command_came_before(testbed):
    kill_a_load_once_it_has_asked(testbed)
    waited = testbed.run("rhubarbe-wait", "1")
    assert "ended the boot override of fit01, left behind by" in waited.stdout + waited.stderr
    assert list(testbed.directory.glob("state/*/link.*")) == []
    log = testbed.log()
    testbed.run("rhubarbe-reset", "1")
    wait_until(lambda: "fit01 boots " in testbed.log()[len(log) :])
    assert "fit01 boots disk" in testbed.log()[len(log) :]
