"""Which disk is meant: paths, hints, and how partitions follow."""

import pytest

from rhubarbe.disks import DiskChoice, NodeDisk, partition_of, read_drive, read_partition

GB = 10**9
DISKS = [
    NodeDisk(name, f"/dev/{name}", size * GB, 512, model, serial, wwn, rotational=turns)
    for name, size, model, serial, wwn, turns in (
        ("sda", 500, "ST500DM002-1BD14", "Z3T1", "0x5000c5005", True),
        ("sdb", 2000, "ST2000NM0008", "ZC12", "0x5000c5006", True),
        ("nvme0n1", 500, "Samsung SSD 980 500GB", "S64DNX0R", "eui.00", False),
        ("mmcblk0", 31, "SD32G", "0x15", "", False),
    )
]


@pytest.mark.parametrize(
    ("hints", "names"),
    [
        ("serial=S64DNX0R", "nvme0n1"),
        ("serial=s64dnx0r", "nvme0n1"),
        ("wwn=naa.5000c5006", "sdb"),
        ("wwn=0x5000c5006", "sdb"),
        ("model=Samsung_SSD_980_500GB", "nvme0n1"),
        ("model=samsung*", "nvme0n1"),
        ("model=ST*", "sda sdb"),
        ("model=ST", ""),
        ("size>=1TB", "sdb"),
        ("size >= 1.5T", "sdb"),
        ("size<=40G", "mmcblk0"),
        ("rotational=no,size>=100GB", "nvme0n1"),
        ("rotational=1, smallest", "sda"),
        ("largest", "sdb"),
        ("smallest", "mmcblk0"),
        ("size>=100G,smallest", "sda nvme0n1"),
        ("serial=nobody,smallest", ""),
    ],
)
def test_hints(hints, names):
    found = DiskChoice.read(hints).of(DISKS)
    assert [disk.name for disk in found] == names.split()


@pytest.mark.parametrize(
    "text",
    ["", "sda", "serial=", "size>=", "size=5G", "size>=5X", "size>=-1", "speed>=3", "rotational=x",
     "smallest,largest", "smallest,", "model>=a", "serial=a\x1b[0m", "smallest;rm", "size>=9e9"],
)  # fmt: skip
def test_what_is_neither_path_nor_hint(text):
    with pytest.raises(ValueError):
        read_drive(text)


def test_a_model_may_have_a_slash():
    assert DiskChoice.read("model=Disk A/B").path == ""
    assert DiskChoice.read("/dev/disk/by-path/pci-0000:00:1f.2-ata-1").path


@pytest.mark.parametrize(
    ("path", "partition"),
    [
        ("/dev/sda", "/dev/sda1"),
        ("/dev/vdb", "/dev/vdb1"),
        ("/dev/nvme0n1", "/dev/nvme0n1p1"),
        ("/dev/mmcblk0", "/dev/mmcblk0p1"),
        ("/dev/loop7", "/dev/loop7p1"),
    ],
)
def test_partitions_follow_the_disk(path, partition):
    disk = NodeDisk(path.rpartition("/")[2], path)
    assert partition_of(disk, "1", "/dev/sda") == partition
    assert partition_of(disk, "/dev/sda1", "/dev/sda") == partition
    assert partition_of(disk, partition, "/dev/sdz") == partition
    assert not partition_of(disk, "none", "/dev/sda")


@pytest.mark.parametrize(
    "said", ["/dev/sdaa1", "/dev/sdb1", "/dev/sda", "/dev/sdap1", "/dev/sda1/"]
)
def test_a_partition_of_another_disk_is_refused(said):
    with pytest.raises(ValueError):
        partition_of(NodeDisk("nvme0n1", "/dev/nvme0n1"), said, "/dev/sda")


@pytest.mark.parametrize("text", ["0", "129", "sda1", "-1", "", "first"])
def test_what_is_no_partition(text):
    with pytest.raises(ValueError):
        read_partition(text)


def test_disks_are_named_as_people_know_them():
    assert str(DISKS[2]) == "nvme0n1 (465.7 GiB, Samsung SSD 980 500GB, serial S64DNX0R)"
    assert str(NodeDisk("sda", "/dev/sda")) == "sda"
