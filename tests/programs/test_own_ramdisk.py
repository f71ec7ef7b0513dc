"""QEMU machines that boot a site's own ramdisk: with another engine's program, or for real ones."""

import shutil
import subprocess

import pytest
import test_real_machines
from emulated import BIN, differing_blocks
from test_real_machines import (
    as_switched_on,
    packages_wanted,
    start_machines,
    told_by_machines,
    well,
)

pytestmark = test_real_machines.pytestmark


@pytest.fixture(
    params=[
        ("udpcast", "--with", "udp-receiver"),
        ("aria2", "--with", "aria2c"),
        ("frisbee", "--kernel", "full"),
    ],
    ids=lambda words: words[-1],
)
def machines(request, tmp_path):
    engine, *words = request.param
    sender = {"udpcast": "udp-sender", "aria2": "aria2c"}.get(engine, "sh")
    if shutil.which(sender) is None:
        pytest.skip(f"needs {sender}")
    ramdisk = tmp_path / "mine"
    with packages_wanted():
        built = subprocess.run(
            [BIN / "rhubarbe-ramdisk", "build", "--output", ramdisk, *words],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert built.returncode == 0, built.stderr
        testbed = start_machines(tmp_path / "testbed", "--ramdisk", ramdisk, "--memory", "512")
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(conf.read_text().replace("[frisbee]", f"[frisbee]\nengine = {engine}"))
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory)


def test_two_are_loaded_and_boot(machines):
    with told_by_machines(machines):
        well(machines, "rhubarbe-load", "--wait", "1-2")
        for name in ("fit01", "fit02"):
            assert differing_blocks(as_switched_on(machines, name), machines.source) == []
