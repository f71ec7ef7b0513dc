"""QEMU machines: PXE, a real kernel, the ramdisk, multicast onto a disk that boots; and back.

One has a BIOS, one UEFI, one UEFI with Secure Boot: what one of them saved, the others boot. One
testbed serves all of it, side by side as far as can be, since each boot takes a while. Each phase
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
if not Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd").exists():
    LACKING.append("ovmf")
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
        directory = tmp_path_factory.mktemp("machines")
        testbed = start_machines(directory, "--firmware", "bios,uefi,secureboot", count=3)
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
    (said,) = all_well(testbed, command)
    return said


def all_well(testbed, *commands):
    """Run commands at the same time, likewise; return what each said."""
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(testbed.start(*command, "-t", str(PHASE))) for command in commands
        ]
        said = [process.communicate(timeout=PHASE + 20)[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), "\n".join(said)
    return said


def as_switched_on(testbed, name):
    """The disk of a machine as it was when it was switched on last."""
    return testbed.disk(name).with_suffix(".before")


def test_machines(machines):
    with told_by_machines(machines):
        a_load_is_proven_and_boots(machines)
        what_is_saved_is_loaded_on_other_firmware(machines)
        a_load_is_killed_while_machines_boot_from_the_network(machines)
        one_is_switched_off_in_the_middle(machines)
        nothing_is_left_of_a_testbed_that_is_killed(machines)


ALL = ("fit01", "fit02", "fit03")


def a_load_is_proven_and_boots(machines):
    well(machines, "rhubarbe-wait", "--image", "old", "1-3")
    said = well(machines, "rhubarbe-load", "--wait", "1-3")
    for name in ALL:
        assert re.search(f"{name}: up for .*, runs: .* image sample ", said), said
        assert differing_blocks(as_switched_on(machines, name), machines.source) == []
    serial = (machines.directory / "serial" / "fit03.log").read_bytes()
    assert b"Fetching Netboot Image grubx64.efi" in serial  # which is what shim says
    well(machines, "rhubarbe-wait", "1-3")


def what_is_saved_is_loaded_on_other_firmware(machines):
    saves = [("rhubarbe-save", name, "-o", f"of-{name}", "-c", f"of {name}") for name in ALL]
    all_well(machines, *saves)
    saved = {}
    for name in ALL:
        saved[name] = machines.directory / f"{name}.saved"
        shutil.copy(as_switched_on(machines, name), saved[name])
    loads = {"fit03": ("fit01", "fit02"), "fit01": ("fit03",)}
    said = all_well(
        machines,
        *(("rhubarbe-load", "-i", f"of-{one}", "--wait", *others) for one, others in loads.items()),
    )
    for (one, others), told in zip(loads.items(), said, strict=True):
        assert len(re.findall(f"up for .*, runs: .* node {one} .* of {one}", told)) == len(others)
        for name in others:
            assert differing_blocks(as_switched_on(machines, name), saved[one]) == []


def a_load_is_killed_while_machines_boot_from_the_network(machines):
    with machines.start("rhubarbe-load", "--json", "1-3") as loading:
        phases = (wait_for_event(loading, "PhaseDone", within=PHASE) for _ in range(99))
        left = (event["node"] for event in phases if event["phase"] == "reset")
        assert {next(left) for _ in ALL} == set(ALL)
        assert len(machines.links()) == 3
        loading.send_signal(signal.SIGKILL)
        loading.communicate()
    wait_until(lambda: machines.links() == [], within=5)
    # UEFI takes so long that it finds no link any more; pxelinux may have found one
    well(machines, "rhubarbe-reset", "1")
    all_well(
        machines,
        ("rhubarbe-wait", "--image", "of-fit03", "1-2"),
        ("rhubarbe-wait", "--image", "of-fit01", "3"),
    )


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


def nothing_is_left_of_a_testbed_that_is_killed(machines):
    assert len(processes_of(machines.directory)) >= 3  # the testbed, QEMU, dnsmasq
    machines.process.kill()
    wait_until(lambda: processes_of(machines.directory) == [], within=10)
