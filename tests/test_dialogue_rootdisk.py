"""Which disk a system runs from: what it answers over ssh, and what that means."""

import subprocess

import pytest

from rhubarbe.dialogue import ROOT_DISK, can_be_told, other_disk
from rhubarbe.disks import NodeDisk

MEANT = NodeDisk("sda", "/dev/sda", serial="S1", wwn="0x5002538e")


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("sda/device/wwid:naa.5002538e\n", ""),
        ("sdb/device/wwid:naa.5002538e\n", ""),  # kernels count disks as they come
        ("sda/device/wwid:naa.50025399\n", "sda (0x50025399), not sda (serial S1)"),
        ("nvme0n1/device/serial:S1\n", ""),
        ("nvme0n1/device/serial:S2\n", "nvme0n1 (S2), not sda (serial S1)"),
        ("sda/device/vpd_pg80:S1   \n", ""),
        ("sda/device/serial:S1\nsda/device/wwid:eui.0025385\n", ""),
        ("sda/device/serial:S2\nsda/device/wwid:naa.5002538e\n", ""),
        ("", ""),
        ("md0/size:5\n", ""),
        ("sda/device/serial:S2\nsdb/device/serial:S3\n", ""),
        ("\x1b[31m/:::\n" * 10000, ""),
    ],
)
def test_another_disk_is_told(answer, other):
    assert other_disk(MEANT, answer) == other


def test_a_disk_without_a_name_of_its_own_cannot_be_told():
    assert can_be_told(MEANT)
    assert not can_be_told(NodeDisk("vda", "/dev/vda"))
    assert not can_be_told(NodeDisk("sda", "run/sda", serial="EMU01A"))


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_command_is_understood_by_shells(shell):
    """Whatever this machine's root is on: nothing of it is an error."""
    done = subprocess.run([shell, "-c", ROOT_DISK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(":" in line for line in done.stdout.splitlines())
