"""QEMU machines that boot a site's own ramdisk: with another engine's program, or for real ones."""

import shutil
import subprocess

import pytest
from emulated import BIN, PrivateTestbed, differing_blocks, start_testbed
from test_real_machines import UP_WITHIN, as_switched_on, pytestmark, told_by_machines, well

__all__ = ["pytestmark"]


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
    built = subprocess.run(
        [BIN / "rhubarbe-ramdisk", "build", "--output", tmp_path / "mine", *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if "Debian packages cannot be had" in built.stderr:
        pytest.skip(built.stderr)
    assert built.returncode == 0, built.stderr
    testbed = start_testbed(
        *(tmp_path / "testbed", "--machines", "2", "--keep-disks"),
        *("--ramdisk", tmp_path / "mine", "--memory", "512"),
        kind=PrivateTestbed,
        ready_within=UP_WITHIN,
    )
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
