"""What a node says of its disks is understood, and which one is meant is decided on all of it."""

import shutil
import subprocess

import pytest

from rhubarbe.config import Settings
from rhubarbe.dialogue import BEGIN_MARK, DisksTranscript, NodeDisks, list_disks, script
from rhubarbe.dialogue.sysfs import MOST_LINES
from rhubarbe.disks import DiskChoice
from rhubarbe.errors import Refused

SCSI = "ata{0}/host{0}/target{0}:0:0/{0}:0:0:0/block"
PLACES = {
    "sda": "devices/pci0000:00/0000:00:1f.2/" + SCSI.format(3),
    "sdb": "devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block",
    "sdc": "devices/pci0000:00/0000:00:05.0/virtio2/host2/target2:0:1/2:0:1:0/block",
    "sr0": "devices/pci0000:00/0000:00:1f.2/" + SCSI.format(4),
    "nvme0n1": "devices/pci0000:00/0000:00:1d.0/0000:3d:00.0/nvme/nvme0",
    "vda": "devices/pci0000:00/0000:00:03.0/virtio1/block",
    "mmcblk0": "devices/platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block",
    "mmcblk0boot0": "devices/platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0",
    "loop0": "devices/virtual/block",
    "md127": "devices/virtual/block",
    "dm-0": "devices/virtual/block",
    "zram0": "devices/virtual/block",
    "ram0": "devices/virtual/block",
}
NUMBERS = {name: f"{8 + rank}:{16 * rank}" for rank, name in enumerate(PLACES)}
VALUES = {
    "sda": {"size": 976773168, "device/model": "ST500DM002-1BD14", "queue/rotational": 1,
            "device/wwid": "naa.5000c5005a1b", "device/vpd_pg80": "Z3T1ABCD",
            "device/../../../ata_port/ata3/port_no": 3},
    "sdb": {"size": 61440000, "removable": 1, "device/model": "stick"},
    "sdc": {"size": 41943040, "device/model": "QEMU HARDDISK", "queue/rotational": 1},
    "sr0": {"size": 2097151, "device/model": "DVD"},
    "nvme0n1": {"size": 1000215216, "device/model": "Samsung SSD 980 500GB", "nsid": 1,
                "device/serial": "S64DNX0R", "wwid": "eui.002538", "queue/rotational": 0,
                "queue/logical_block_size": 4096},
    "vda": {"size": 4194304, "serial": "disk-1"},
    "mmcblk0": {"size": 61071360, "device/name": "SD32G", "device/serial": "0x15", "ro": 1},
    "mmcblk0boot0": {"size": 8192, "device/name": "SD32G"},
    "loop0": {"size": 100}, "md127": {"size": 100}, "dm-0": {"size": 100},
    "zram0": {"size": 100}, "ram0": {"size": 100},
}  # fmt: skip
TWO = {"sda": "8:0", "sda1": "8:1"}
GOOD = ("sda", "nvme0n1", "vda", "mmcblk0", "sdc")


def node(*names, target="", mounts=(), root="/", nodes=None):
    """Let a node with these disks speak, as busybox does."""
    devices = {name: NUMBERS[name].replace(":", ",   ") for name in nodes or names}
    lines = [
        BEGIN_MARK,
        f"RHUBARBE-DISKS=root {root}",
        *([target] if target else []),
        "RHUBARBE-DISKS=mounts",
        *mounts,
        "RHUBARBE-DISKS=dev",
        *(f"brw-rw----  1 0  6  {number} Nov 28 11:00 {name}" for name, number in devices.items()),
        "RHUBARBE-DISKS=block",
        *(
            f"lrwxrwxrwx 1 0 0 0 Nov 28 11:18 \x1b[1;36m{name}\x1b[m -> ../{PLACES[name]}/{name}"
            for name in names
        ),
        "RHUBARBE-DISKS=sys",
        *(f"{name}/dev:{NUMBERS[name]}" for name in names),
        *(f"{name}/{key}:{value}" for name in names for key, value in VALUES[name].items()),
        *(f"{name}/{name}1/dev:{NUMBERS[name]}1" for name in names),
        *(f"{name}/{name}1/size:2048" for name in names),
    ]
    told = DisksTranscript()
    said = list(told.feed("".join(f"{line}\r\n" for line in lines)))
    assert len(said) == 1
    return NodeDisks(told)


def block(name, number):
    return f"brw-rw----    1 root  disk   {number.replace(':', ',   ')} Nov 28 11:00 .//dev/{name}"


@pytest.mark.parametrize("name", GOOD)
def test_a_path_of_a_disk(name):
    target = block(name, NUMBERS[name])
    disk = node(*PLACES, target=target).choose(DiskChoice.read(f"/dev/{name}"))
    assert (disk.name, disk.path) == (name, f"/dev/{name}")
    assert disk.size == int(VALUES[name]["size"]) * 512
    assert disk.sector_size == (4096 if name == "nvme0n1" else 512)
    assert disk.is_read_only == (name == "mmcblk0")


def test_where_the_inventory_says_the_disk_that_is_said():
    own = Settings().for_node(1, "fit01", "/dev/sda")
    choice = DiskChoice.read(own.frisbee.hard_drive, own.disk_setting)
    with pytest.raises(Refused, match=r"^disk in the inventory is /dev/sda; the node has nvme0n1"):
        node("nvme0n1").choose(choice)
    assert Settings().for_node(1, "fit01").disk_setting == "hard_drive"


def test_a_disk_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(Refused) as caught:
        node("nvme0n1", "sr0", "loop0").choose(DiskChoice.read("/dev/sda"))
    assert str(caught.value) == (
        "hard_drive is /dev/sda; the node has"
        " nvme0n1 (476.9 GiB, Samsung SSD 980 500GB, serial S64DNX0R)"
    )


@pytest.mark.parametrize(
    "target",
    [
        "-rw-r--r--    1 0  0  1048576 Nov 28 11:00 .//dev/sda",
        "drwxr-xr-x    2 0  0  40 Nov 28 11:00 .//dev/sda",
        "crw-rw----    1 0  0  21,   0 Nov 28 11:00 .//dev/sda",
    ],
)
def test_what_is_no_disk_is_refused(target):
    with pytest.raises(Refused, match="which is no disk; the node has vda"):
        node("vda", target=target).choose(DiskChoice.read("/dev/sda"))


@pytest.mark.parametrize("path", ["/dev/sda", "dev/sda", "/dev/../dev/x", "//dev/a", "/dev/shmem"])
def test_nothing_is_made_among_the_devices(path):
    with pytest.raises(Refused):
        node("vda", mounts=["tmpfs /dev/shm tmpfs rw 0 0"]).choose(DiskChoice.read(path))


@pytest.mark.parametrize("path", ["/tmp/disk.img", "/dev/shm/disk"])
def test_files_elsewhere_are_as_good_as_ever(path):
    disks = node("vda", mounts=["tmpfs /dev/shm tmpfs rw 0 0"])
    assert disks.choose(DiskChoice.read(path)).path == path
    there = node(
        "vda",
        mounts=["tmpfs /dev/shm tmpfs rw 0 0"],
        target=f"-rw-r--r-- 1 root root 4096 Nov 28 11:00 ./{path}",
    )
    assert there.choose(DiskChoice.read(path)).size == 4096


def test_what_is_thrown_away_needs_no_disk():
    target = "crw-rw-rw-    1 0  0  1,   3 Nov 28 11:00 .//dev/null"
    assert node("vda", target=target).choose(DiskChoice.read("/dev/null")).size is None


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("by-path/pci-0000:00:1f.2-ata-3", "sda"),
        ("by-path/pci-0000:00:1f.2-ata-3.0", "sda"),
        ("by-path/pci-0000:3d:00.0-nvme-1", "nvme0n1"),
        ("by-path/pci-0000:00:03.0", "vda"),
        ("by-path/virtio-pci-0000:00:03.0", "vda"),
        ("by-path/pci-0000:00:05.0-scsi-0:0:1:0", "sdc"),
        ("by-path/platform-fe340000.mmc", "mmcblk0"),
        ("by-id/wwn-0x5000c5005a1b", "sda"),
        ("by-id/ata-ST500DM002-1BD142_Z3T1ABCD", "sda"),
        ("by-id/nvme-Samsung_SSD_980_500GB_S64DNX0R", "nvme0n1"),
        ("by-id/nvme-Samsung_SSD_980_500GB_S64DNX0R_1", "nvme0n1"),
        ("by-id/nvme-eui.002538", "nvme0n1"),
        ("by-id/virtio-disk-1", "vda"),
        ("by-id/mmc-SD32G_0x15", "mmcblk0"),
    ],
)
def test_names_of_udev_without_udev(link, name):
    assert node(*GOOD).choose(DiskChoice.read(f"/dev/disk/{link}")).path == f"/dev/{name}"


def test_a_name_of_udev_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(Refused) as caught:
        node("vda", "sda").choose(DiskChoice.read("/dev/disk/by-path/pci-0000:00:1f.2-ata-1"))
    assert "sda is by-path/pci-0000:00:1f.2-ata-3" in str(caught.value)


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ("rotational=1", "hard_drive is rotational=1: 2 disks of the node; it has "),
        ("size>=9T", "hard_drive is size>=9T: no disk of the node; it has "),
    ],
)
def test_hints_name_one_disk(hints, words):
    with pytest.raises(Refused, match=words):
        node("sda", "sdc", "vda").choose(DiskChoice.read(hints))


def test_a_disk_without_its_device_is_refused():
    with pytest.raises(Refused, match=r"/dev/nvme0n1 is not that disk: is /dev filled\?"):
        node("nvme0n1", "vda", nodes=["vda"]).choose(DiskChoice.read("serial=S64*"))


def test_a_partition_and_a_raid_may_be_meant_by_their_paths():
    number = NUMBERS["vda"] + "1"
    disk = node("vda", target=block("vda1", number)).choose(DiskChoice.read("/dev/vda1"))
    assert (disk.path, disk.size) == ("/dev/vda1", 2048 * 512)
    raid = node("vda", "md127", target=block("md127", NUMBERS["md127"]))
    assert raid.choose(DiskChoice.read("/dev/md127")).size == 100 * 512


def test_a_drive_for_cards_without_one_is_no_disk(monkeypatch):
    """Some machines call that /dev/sda, and their disk /dev/sdb."""
    monkeypatch.setitem(VALUES, "sdb", {"size": 0, "removable": 1, "device/model": "card reader"})
    with pytest.raises(Refused, match="hard_drive is /dev/sdb, which is empty; the node has sda"):
        node("sda", "sdb", target=block("sdb", NUMBERS["sdb"])).choose(DiskChoice.read("/dev/sdb"))


def test_what_is_mounted_is_seen():
    mounts = ["/dev/nvme0n1p2 /mnt ext4 rw 0 0", "/dev/vdaa1 /srv ext4 rw 0 0"]
    disks = node("nvme0n1", "vda", mounts=mounts)
    nvme, virtio = (
        disks.choose(DiskChoice.read(hint)) for hint in ("serial=S64*", "serial=disk-1")
    )
    assert disks.mount_of(nvme) == "/dev/nvme0n1p2 is mounted on /mnt"
    assert disks.mount_of(virtio) == ""


def test_a_ramdisk_without_sysfs_tells_what_it_has():
    told = DisksTranscript()
    nodes = [block(name, number).replace(".//dev/", "") for name, number in TWO.items()]
    lines = [BEGIN_MARK, "RHUBARBE-DISKS=root /", block("sda", TWO["sda"])]
    lines += ["RHUBARBE-DISKS=dev", *nodes, "RHUBARBE-DISKS=sys"]
    list(told.feed("".join(f"{line}\n" for line in lines)))
    disks = NodeDisks(told)
    assert str(disks) == "sda"
    assert disks.choose(DiskChoice.read("/dev/sda")).size is None


def test_a_hostile_node_is_bounded():
    told = DisksTranscript()
    text = f"{BEGIN_MARK}\nRHUBARBE-DISKS=sys\n" + "".join(
        f"sd{n}/size:{'9' * 400}\nsd{n}/device/model:\x1b]0;x\x07{'m' * 300}\n" for n in range(9000)
    )
    list(told.feed(text))
    assert sum(map(len, told.sections.values())) <= MOST_LINES
    assert str(NodeDisks(told)) == "no disk"
    many = DisksTranscript()
    links = [f"lrwxrwxrwx 1 0 0 0 Nov 28 11:18 sd{n} -> ../devices/pci/sd{n}" for n in range(900)]
    values = [f"sd{n}/size:8\nsd{n}/device/model:{'m' * 300}" for n in range(900)]
    parts = [BEGIN_MARK, "RHUBARBE-DISKS=block", *links, "RHUBARBE-DISKS=sys", *values]
    list(many.feed("\n".join(parts) + "\n"))
    assert str(NodeDisks(many)).endswith("and 884 more")
    assert len(str(NodeDisks(many))) < 3000


@pytest.mark.parametrize("shell", [("busybox", "sh"), ("dash",), ("bash",)])
@pytest.mark.parametrize("path", ["", "/dev/null", "/dev/it's"])
def test_real_shells_understand_the_question(shell, path):
    """This machine answers; what it has nobody knows, but the sections are all there."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    line = script(list_disks(path))
    assert len(line) < 1000, "longer than what a busybox shell takes in one line"
    done = subprocess.run([*shell], input=line, capture_output=True, text=True, check=False)
    told = DisksTranscript()
    *_, ended = told.feed(done.stdout)
    assert ended.status == 0, done.stderr
    assert list(told.sections) == ["root", "mounts", "dev", "block", "sys"]
    assert len(told.sections["root"]) == (path == "/dev/null")
