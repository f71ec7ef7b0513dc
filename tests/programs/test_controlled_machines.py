"""QEMU machines that are switched by others' controls: loaded, and up on what was loaded."""

import re

import pytest
import test_real_machines
from emulated import differing_blocks
from test_real_machines import (
    as_switched_on,
    packages_wanted,
    start_machines,
    told_by_machines,
    well,
)

pytestmark = test_real_machines.pytestmark

POWER = "redfish,ipmi"
"""What switches the two of them; the first is told to boot from the network by it, too."""


@pytest.fixture
def machines(tmp_path_factory):
    with packages_wanted():
        testbed = start_machines(
            *(tmp_path_factory.mktemp("machines"), "--power", POWER, "--netboot", "redfish")
        )
    yield testbed
    testbed.end()


def test_they_are_loaded_and_boot(machines):
    with told_by_machines(machines):
        said = well(machines, "rhubarbe-load", "--wait", "1-2")
        assert len(re.findall("up for .*, runs: .* image sample ", said)) == 2
        for name in ("fit01", "fit02"):
            assert differing_blocks(as_switched_on(machines, name), machines.source) == []
        assert len(re.findall("fit01 is to boot from the network once", machines.log())) == 1
        assert "fit02 is to boot" not in machines.log()
