"""QEMU machines that boot by the iPXE of their cards, and scripts: one by HTTP, one by TFTP."""

import re
import signal

import pytest
import test_real_machines
from emulated import differing_blocks, wait_for_event, wait_until
from test_real_machines import (
    PHASE,
    as_switched_on,
    packages_wanted,
    start_machines,
    told_by_machines,
    well,
)

pytestmark = test_real_machines.pytestmark
ALL = ("fit01", "fit02")


@pytest.fixture
def machines(tmp_path_factory):
    with packages_wanted():
        directory = tmp_path_factory.mktemp("machines")
        testbed = start_machines(directory, "--firmware", "ipxe,ipxe-tftp")
    yield testbed
    testbed.end()


def fetched(testbed, script, file):
    """Count how often a server gave a file to a machine, or said that there is none."""
    log = (testbed.directory / "run" / f"{script}.log").read_text()
    return len(re.findall(file, log))


def test_they_are_loaded_saved_and_freed(machines):
    with told_by_machines(machines):
        said = well(machines, "rhubarbe-load", "--wait", "1-2")
        assert len(re.findall("up for .*, runs: .* image sample ", said)) == len(ALL)
        for name in ALL:
            assert differing_blocks(as_switched_on(machines, name), machines.source) == []
        each_came_by_its_own_way(machines)
        well(machines, "rhubarbe-save", "fit02", "-o", "of-fit02")
        assert (machines.directory / "of-fit02.ndz").stat().st_size > 1 << 20
        a_load_is_killed_in_netboot(machines)


def each_came_by_its_own_way(machines):
    assert fetched(machines, "http", r'GET /ipxe/\S+\.ipxe HTTP/1\.1" 200')
    assert fetched(machines, "http", r'GET /ipxe/\S+-\S+\.ipxe HTTP/1\.1" 404')  # then its disk
    assert fetched(machines, "http", r'GET /vmlinuz HTTP/1\.1" 200') == 1
    assert fetched(machines, "dnsmasq", r"sent \S+/initrd to 10\.") == 1
    assert fetched(machines, "dnsmasq", r"file \S+-\S+\.ipxe not found for 10\.")


def a_load_is_killed_in_netboot(machines):
    with machines.start("rhubarbe-load", "--json", "1-2") as loading:
        phases = (wait_for_event(loading, "PhaseDone", within=PHASE) for _ in range(99))
        left = (event["node"] for event in phases if event["phase"] == "reset")
        assert {next(left) for _ in ALL} == set(ALL)
        assert len(machines.links()) == len(ALL)
        loading.send_signal(signal.SIGKILL)
        loading.communicate()
    wait_until(lambda: machines.links() == [], within=5)
    well(machines, "rhubarbe-reset", "1-2")
    well(machines, "rhubarbe-wait", "1-2")
