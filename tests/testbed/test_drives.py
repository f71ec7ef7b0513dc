"""Which disks machines are given, which of them is meant, and what Linux calls it."""

import re
from pathlib import Path

import pytest

from rhubarbe.annexe.errors import Misused
from rhubarbe.testbed import drives
from rhubarbe.testbed.drives import Drive, DriveWish

GIB = 1 << 30


def meant_by(*texts, node="fit02"):
    """What the configuration says of a node where these are asked for."""
    return drives.meant(drives.by_node(map(drives.parse, texts), ["fit01", node])[node])


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("nvme", DriveWish("", "nvme")),
        ("fit02:scsi", DriveWish("fit02", "scsi")),
        ("sata:3T", DriveWish("", "sata", 3 << 40)),
        (
            "fit02:nvme:2G,serial=A-1,meant",
            DriveWish("fit02", "nvme", 2 * GIB, "A-1", is_meant=True),
        ),
        ("virtio:64M,sector=4096", DriveWish("", "virtio", 64 << 20, sector=4096)),
    ],
)
def test_a_wish_is_read(text, wish):
    assert drives.parse(text) == wish


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not of the form"),
        ("floppy", "a kind is one of virtio, nvme, scsi, ide, sata, usb"),
        ("nvme:2", "such as fit02:nvme:2G"),
        ("nvme:" + "9" * 5000 + "G", "such as fit02:nvme:2G"),
        ("nvme:0G", "such as fit02:nvme:2G"),
        ("nvme,large", "disk option 'large'"),
        ("nvme,sector=520", "sector=4096"),
        ("nvme,serial=", "disk option 'serial='"),
        ("nvme,serial=" + 21 * "x", "disk option 'serial=x"),
        ("nvme,serial=$(halt)", "disk option"),
        ("sata,sector=4096", "sata disks have sectors of 512 bytes only"),
    ],
)
def test_what_is_no_disk_is_refused(text, said):
    with pytest.raises(Misused, match=re.escape(said)):
        drives.parse(text)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["fit09:nvme"], "a disk is for fit09, which is not in this testbed"),
        (["nvme,meant", "virtio,meant"], "fit01 has 2 disks that are meant"),
        (["usb"] * 5, "fit01 has 5 disks of kind usb: 4 can be"),
        (["nvme,serial=A", "scsi,serial=A"], "several disks with one serial number"),
    ],
)
def test_disks_that_do_not_go_together_are_refused(texts, said):
    with pytest.raises(Misused, match=said):
        meant_by(*texts)


@pytest.mark.parametrize(
    ("texts", "disk", "partition"),
    [
        ([], "/dev/vda", "/dev/vda1"),
        (["nvme"], "/dev/nvme0n1", "/dev/nvme0n1p1"),
        (["nvme", "fit02:scsi"], "/dev/sda", "/dev/sda1"),
        (["virtio", "nvme,meant"], "/dev/nvme0n1", "/dev/nvme0n1p1"),
        (["usb", "virtio"], "/dev/sda", "/dev/sda1"),
    ],
)
def test_the_disk_that_is_meant_has_a_path(texts, disk, partition):
    assert meant_by(*texts) == disk
    assert drives.partition(disk) == partition


@pytest.mark.parametrize(
    ("texts", "hint"),
    [
        (["nvme", "nvme,meant"], "serial=fit02-2"),
        (["usb,serial=STICK", "sata"], "serial=STICK"),
        (["scsi", "usb,serial=STICK,meant", "virtio"], "serial=STICK"),
    ],
)
def test_among_several_whose_order_is_the_kernel_s_it_is_known_by_its_number(texts, hint):
    assert meant_by(*texts) == hint
    assert drives.partition(hint) == "1"


def test_machines_are_plugged_together_as_asked():
    words = drives.words(
        [
            Drive(Path("/a,b"), "scsi", "S", 4096, boot_order=3),
            Drive(Path("/c"), "scsi"),
            Drive(Path("/d"), "nvme", boot_order=2),
        ]
    )
    assert words[1::2] == [
        "virtio-scsi-pci,id=scsi",
        "file=/a,,b,format=raw,if=none,id=disk0,cache=unsafe",
        "scsi-hd,bus=scsi.0,scsi-id=0,drive=disk0,serial=S,"
        "logical_block_size=4096,physical_block_size=4096,bootindex=3",
        "file=/c,format=raw,if=none,id=disk1,cache=unsafe",
        "scsi-hd,bus=scsi.0,scsi-id=1,drive=disk1,serial=disk1",
        "file=/d,format=raw,if=none,id=disk2,cache=unsafe",
        "nvme,drive=disk2,serial=disk2,bootindex=2",
    ]
