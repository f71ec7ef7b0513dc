"""QEMU machines: PXE, a real kernel, the ramdisk, multicast onto a disk that boots; and back.

One testbed serves all of it, one thing after the other, since each boot takes a while. Each phase
has a limit; what the machines said on their serial lines is printed when one fails.
"""

import contextlib
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from emulated import (
    PrivateTestbed,
    differing_blocks,
    processes_of,
    start_testbed,
    wait_for_event,
    wait_until,
)
from emulated import (
    events as events_of,
)

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
NEEDED = ("qemu-system-x86_64", "dnsmasq", "nsenter")
LACKING = [program for program in NEEDED if shutil.which(program, path=SBIN) is None]
if not Path("/usr/lib/PXELINUX/pxelinux.0").exists():
    LACKING.append("pxelinux")
pytestmark = [
    pytest.mark.full,
    pytest.mark.alone,
    pytest.mark.testbed,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to make network namespaces"),
    pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}"),
]
UP_WITHIN = 240  # seconds: packages are fetched, a ramdisk is built, two machines boot
PHASE = 300  # seconds for a command that has machines boot twice, on a machine that is busy
SLOWLY = "100"  # Mibit/s, so that there is a middle of the image


@contextlib.contextmanager
def packages_wanted():
    """Skip where what machines boot cannot be built for want of Debian's packages."""
    try:
        yield
    except AssertionError as error:
        if "Debian packages cannot be had" in str(error):
            pytest.skip(str(error))
        raise


def start_machines(directory, *options, count=2):
    """Start machines that keep their disks; return their testbed."""
    return start_testbed(
        *(directory, "--machines", str(count), "--keep-disks", *options),
        kind=PrivateTestbed,
        ready_within=UP_WITHIN,
    )


@pytest.fixture
def machines(tmp_path_factory):
    with packages_wanted():
        testbed = start_machines(tmp_path_factory.mktemp("machines"))
    yield testbed
    testbed.end()


@contextlib.contextmanager
def told_by_machines(testbed):
    """Print what machines have said when this fails."""
    try:
        yield
    except BaseException:
        for log in (*(testbed.directory / "serial").iterdir(), testbed.directory / "testbed.log"):
            sys.stderr.write(f"--- {log}\n{log.read_text(errors='replace')[-8000:]}\n")
        raise


def well(testbed, *command):
    """Run a command that must do well within the time of a phase; return what it said."""
    done = testbed.run(*command, "-t", str(PHASE), within=PHASE + 20)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def as_switched_on(testbed, name):
    """The disk of a machine as it was when it was switched on last."""
    return testbed.disk(name).with_suffix(".before")


def test_machines(machines):
    with told_by_machines(machines):
        a_load_is_proven_and_boots(machines)
        what_is_saved_is_loaded_on_both(machines)
        one_is_switched_off_in_the_middle(machines)
        a_load_is_killed_while_a_machine_boots_from_the_network(machines)
        nothing_is_left_of_a_testbed_that_is_killed(machines)


def a_load_is_proven_and_boots(machines):
    well(machines, "rhubarbe-wait", "--image", "old", "1")
    said = well(machines, "rhubarbe-load", "--wait", "1")
    assert re.search("fit01: up for .*, runs: .* image sample ", said)
    assert differing_blocks(as_switched_on(machines, "fit01"), machines.source) == []
    well(machines, "rhubarbe-wait", "1")


def what_is_saved_is_loaded_on_both(machines):
    well(machines, "rhubarbe-save", "1", "-o", "mine", "-c", "of a machine")
    saved = machines.directory / "saved.img"
    shutil.copy(as_switched_on(machines, "fit01"), saved)
    said = well(machines, "rhubarbe-load", "-i", "mine", "--wait", "1-2")
    assert len(re.findall("up for .*, runs: .* node fit01 .* of a machine", said)) == 2
    for name in ("fit01", "fit02"):
        assert differing_blocks(as_switched_on(machines, name), saved) == []


def one_is_switched_off_in_the_middle(machines):
    conf = machines.directory / "rhubarbe.conf"
    conf.write_text(conf.read_text() + "silence_timeout = 40\n")
    words = ("-t", str(PHASE), "--retries", "0", "-b", SLOWLY, "1-2")
    with (
        machines.hand_at_cards() as ask,
        machines.start("rhubarbe-load", "--json", *words) as loading,
    ):
        events = (wait_for_event(loading, "Progress", within=PHASE) for _ in range(99))
        assert next(event for event in events if event["node"] == "fit02" and event["percent"] > 5)
        assert ask("fit02", "off") == "ok\n"
        assert ask("fit02", "status") == "off\n"
        rest, _ = loading.communicate(timeout=PHASE)
    assert loading.returncode == 1, rest
    finished = events_of(rest)[-1]
    assert (finished["good"], finished["bad"]) == ("1", "2"), rest
    assert differing_blocks(as_switched_on(machines, "fit01"), machines.source) == []
    assert differing_blocks(machines.disk("fit02"), machines.source) != []


def a_load_is_killed_while_a_machine_boots_from_the_network(machines):
    well(machines, "rhubarbe-wait", "1")
    with machines.start("rhubarbe-load", "--json", "1") as loading:
        phases = (wait_for_event(loading, "PhaseDone", within=PHASE) for _ in range(9))
        assert next(event for event in phases if event["phase"] == "reset")
        assert len(machines.links()) == 1
        loading.send_signal(signal.SIGKILL)
        loading.communicate()
    wait_until(lambda: machines.links() == [], within=5)
    well(machines, "rhubarbe-reset", "1")
    well(machines, "rhubarbe-wait", "--image", "sample", "1")


def nothing_is_left_of_a_testbed_that_is_killed(machines):
    assert len(processes_of(machines.directory)) >= 3  # the testbed, QEMU, dnsmasq
    machines.process.kill()
    wait_until(lambda: processes_of(machines.directory) == [], within=10)
