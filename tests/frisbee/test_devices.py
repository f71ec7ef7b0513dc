"""Block devices as disks of the client. Needs root and loop devices."""

import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from programs import Network, change_behind

pytestmark = pytest.mark.full
SIZE = 8601600


def _lacking():
    if os.getuid():
        return "needs root for loop devices"
    tools = [tool for tool in ("losetup", "mke2fs", "mount") if shutil.which(tool) is None]
    return f"needs {', '.join(tools)}" if tools else ""


@pytest.fixture
def network():
    return Network()


@contextmanager
def _attached(path):
    """The file as a loop device."""
    if _lacking():
        pytest.skip(_lacking())
    made = subprocess.run(
        ["losetup", "--find", "--show", path], check=True, capture_output=True, text=True
    )
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def _junk(path, size):
    path.write_bytes(b"\xaa" * size)
    return path


def test_a_device_gets_the_image_and_keeps_the_rest(network, large_image, tmp_path):
    path, expected = large_image
    disk = _junk(tmp_path / "disk", SIZE + 4096)
    with _attached(disk) as device, network.serving(path, "-W", "300000000"):
        ((status, said),) = network.load([device], "--verify")
    assert status == 0
    assert f"Verified {SIZE} bytes\n" in said  # from the device, not from memory
    assert hashlib.sha256(disk.read_bytes()[:SIZE]).hexdigest() == expected
    assert disk.read_bytes()[SIZE:] == b"\xaa" * 4096


@pytest.mark.parametrize("options", [[], ["-f"], ["-N"]], ids=str)
def test_a_device_that_is_too_small_is_left_as_it_was(network, large_image, tmp_path, options):
    size = (6 << 20) - 512 if options == ["-N"] else SIZE - 512
    disk = _junk(tmp_path / "disk", size)
    with _attached(disk) as device, network.serving(large_image[0], "-W", "300000000"):
        ((status, said),) = network.load([device], *options)
    assert status == 1
    assert "too small, nothing was written: write error: No space left on device" in said
    assert disk.read_bytes() == b"\xaa" * size


def test_a_mounted_device_is_refused_unless_forced(network, large_image, tmp_path):
    path, expected = large_image
    disk, point = _junk(tmp_path / "disk", SIZE + 4096), tmp_path / "point"
    point.mkdir()
    with _attached(disk) as device:
        subprocess.run(["mke2fs", "-q", "-F", device], check=True)
        subprocess.run(["mount", device, point], check=True)
        try:
            ((status, said),) = network.load([device], "-T", "5")
            assert status == 1
            assert (
                f"{device} is in use (mounted on {point}); imageunzip and frisbee take --force"
                in said
            )
            ((status, said),) = network.load([device], "-T", "1", "--force")
            assert status == 110
        finally:
            subprocess.run(["umount", point], check=True)
        with network.serving(path, "-W", "300000000"):
            assert network.load([device])[0][0] == 0
    assert hashlib.sha256(disk.read_bytes()[:SIZE]).hexdigest() == expected


def test_what_changes_behind_a_device_is_noticed(network, large_image, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(SIZE))
    with (
        _attached(disk) as device,
        network.serving(large_image[0], "-W", "20000000"),
        network.start_client(
            0, device, "-f", "--verify", "--json", "-q", stdout=subprocess.PIPE
        ) as client,
    ):
        try:
            changed = change_behind(client, disk, 1400 << 10, 200 << 10)
            said = client.communicate(timeout=45)[1].decode()
        finally:
            client.kill()
    assert client.returncode == 1
    assert f"verify error: chunk {changed}, in sectors {changed * 2800} to" in said
