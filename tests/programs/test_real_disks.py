"""QEMU machines with other people's disks: NVMe, several of them, of 4096-byte sectors, of a RAID.

Each phase has a limit; what the machines said on their serial lines is printed when one fails.
"""

import hashlib
import re
import shutil

import pytest
import test_real_machines
from emulated import differing_blocks, processes_of, wait_until
from guest import Drive, run_in_guest
from test_real_machines import as_switched_on, packages_wanted, start_machines, told_by_machines

pytestmark = test_real_machines.pytestmark
PHASE = 600  # seconds for a command that has several machines boot twice, on one that is busy
PATIENCE = {"timeout_before_telnet": 300, "wait_default_timeout": 300, "silence_timeout": 120}
STAMP = "image sample - by rhubarbe-ramdisk"


@pytest.fixture
def make_machines(tmp_path):
    """Start a testbed of machines with these disks; it ends with the test."""
    running = []

    def make(count, *disks):
        options = [word for disk in disks for word in ("--disk", disk)]
        with packages_wanted():
            running.append(start_machines(tmp_path / "testbed", *options, count=count))
        configure(running[-1], "nodes", **PATIENCE)
        return running[-1]

    yield make
    for testbed in running:
        testbed.end()
        shutil.rmtree(testbed.directory)


def configure(testbed, section, **settings):
    """Set what is to hold in the testbed's configuration instead of what is there."""
    conf = testbed.directory / "rhubarbe.conf"
    text = conf.read_text()
    for name, value in settings.items():
        text = re.sub(rf"(?m)^{name} = .*\n", "", text)
        text = text.replace(f"[{section}]", f"[{section}]\n{name} = {value}")
    conf.write_text(text)


def ended(testbed, status, *command):
    """Run a command that must end with this status; return what it said."""
    done = testbed.run(*command, "-t", str(PHASE), within=PHASE + 20)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def digest(disk):
    with disk.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def switch_off(testbed, name):
    """Take its power from a machine, and return its disk once nothing works on that any more."""
    assert testbed.ask_card(name, "off") == "ok\n"
    file = f"{name}.img".encode()
    wait_until(lambda: not any(file in line for line in processes_of(testbed.directory)))
    return testbed.disk(name)


def test_nodes_with_other_disks_are_loaded_proven_and_boot(make_machines):
    machines = make_machines(3, "fit01:nvme", "fit02:scsi:1G", "fit03:nvme", "fit03:nvme,meant")
    other = machines.disk("fit03-1")
    with other.open("r+b") as file:
        file.write(b"of somebody else " * 10_000)
    before = digest(other)
    with told_by_machines(machines):
        said = ended(machines, 0, "rhubarbe-load", "--verify", "--wait", "1-3")
    assert len(re.findall(f"read back and compared|runs: .*{STAMP}", said)) == 6, said
    for name in ("fit01", "fit02", "fit03"):
        assert differing_blocks(as_switched_on(machines, name), machines.source) == []
    assert digest(other) == before


def test_a_node_without_the_disk_that_is_configured_is_bad_and_nothing_of_it_is_touched(
    make_machines,
):
    machines = make_machines(1, "nvme,serial=S-OF-IT")
    configure(machines, "frisbee", hard_drive="/dev/sda", root_partition="/dev/sda1")
    disk = switch_off(machines, "fit01")
    before = digest(disk)
    with told_by_machines(machines):
        said = ended(machines, 1, "rhubarbe-load", "--retries", "0", "--verify", "--wait", "1")
    assert re.search(r"(?s)fit01: FAILED.*nvme0n1.*serial S-OF-IT", said), said
    assert digest(switch_off(machines, "fit01")) == before


def test_a_disk_with_an_older_copy_of_the_image_is_not_taken_for_the_one_that_was_loaded(
    make_machines,
):
    """Both have the same UUIDs: the kernel may take its root from either, and mounting it shows."""
    machines = make_machines(1, "nvme,serial=OLDER", "nvme,serial=MEANT,meant")
    older = machines.disk("fit01-1")
    with told_by_machines(machines):
        ended(machines, 0, "rhubarbe-load", "--wait", "1")
        shutil.copyfile(switch_off(machines, "fit01"), older)
        before = digest(older)
        assert machines.ask_card("fit01", "on") == "ok\n"
        load = ("rhubarbe-load", "--retries", "0", "--wait", "-t", str(PHASE), "1")
        done = machines.run(*load, within=PHASE + 20)
        switch_off(machines, "fit01")
        runs_from_older = digest(older) != before
        assert done.returncode == int(runs_from_older), done.stdout
        refused = r"it runs from another disk than was loaded: .* serial MEANT"
        assert bool(re.search(refused, done.stdout)) == runs_from_older


FORMER_LIFE = """\
create="mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2"
echo "2048,{sectors},fd" | sfdisk -q /dev/vda
$create --metadata={inner} /dev/vda1 missing 2>/dev/null
mdadm --stop /dev/md0 2>/dev/null
$create --metadata={outer} /dev/vda missing 2>/dev/null
mdadm --stop /dev/md0 2>/dev/null
blockdev --rereadpt /dev/vda
mdadm --examine --brief /dev/vda /dev/vda1 | grep -c ARRAY
"""
WHAT_IS_THERE = """\
for each in /dev/vda /dev/vda1; do
    wipefs -n -i -O TYPE,UUID,OFFSET $each
    blkid -p -o export $each
done | grep -v ^DEVNAME
"""


@pytest.mark.parametrize(("inner", "outer"), [("0.90", "1.0"), ("1.0", "0.90")])
def test_what_was_a_member_of_a_raid_is_one_no_more(make_machines, inner, outer):
    machines = make_machines(1)
    disk = switch_off(machines, "fit01")
    sectors = int.from_bytes(machines.source.read_bytes()[458:462], "little")
    life = FORMER_LIFE.format(sectors=sectors, inner=inner, outer=outer)
    assert run_in_guest(life, [disk]).splitlines()[-1] == "2"
    with told_by_machines(machines):
        said = ended(machines, 0, "rhubarbe-load", "--verify", "--wait", "1")
    assert re.search(f"runs: .*{STAMP}", said), said
    assert differing_blocks(as_switched_on(machines, "fit01"), machines.source) == []
    found = run_in_guest(WHAT_IS_THERE, [switch_off(machines, "fit01")])
    assert found == run_in_guest(WHAT_IS_THERE, [machines.source])
    assert "raid" not in found


FILL = """\
sgdisk -n1:0:+48M -t1:8300 -n2:0:0 -t2:8300 {disk} >/dev/null
mkfs.ext4 -q {disk}{p}1
mkfs.ext4 -q -b 4096 {disk}{p}2
for part in 1 2; do
    mount {disk}{p}$part /mnt
    mkdir /mnt/etc
    head -c 9999999 /dev/urandom > /mnt/some
    umount /mnt
done
"""
LOOK = """\
sgdisk -v {disk} | grep -c "No problems found"
for part in 1 2; do
    e2fsck -fn {disk}{p}$part >/dev/null 2>&1 && mount -o ro {disk}{p}$part /mnt
    sha256sum < /mnt/some
    umount /mnt
done
"""


def test_disks_of_large_sectors_are_saved_and_loaded_among_themselves(make_machines):
    machines = make_machines(2, "fit01:nvme:128M,sector=4096", "fit02:virtio:160M,sector=4096")
    with told_by_machines(machines):
        said = ended(machines, 1, "rhubarbe-load", "--retries", "0", "1-2")
        assert len(re.findall(r"fit0[12] +FAILED", said)) == 2, said
        assert "4096" in said
        disks = {
            "/dev/nvme0n1": Drive(switch_off(machines, "fit01"), "nvme", sector=4096),
            "/dev/vda": Drive(switch_off(machines, "fit02"), "virtio", sector=4096),
        }
        for disk in disks.values():
            assert not disk.file.read_bytes().strip(b"\0")
        run_in_guest(FILL.format(disk="/dev/nvme0n1", p="p"), [disks["/dev/nvme0n1"]])
        ended(machines, 0, "rhubarbe-save", "-o", "large", "1")
        told = {}
        switch_off(machines, "fit01")
        told["saved"] = run_in_guest(
            LOOK.format(disk="/dev/nvme0n1", p="p"), [disks["/dev/nvme0n1"]]
        )
        with disks["/dev/nvme0n1"].file.open("r+b") as file:
            file.write(b"\xff" * (64 << 20))
        ended(machines, 0, "rhubarbe-load", "-i", "large", "--verify", "1-2")
    for name, path, part in (("fit01", "/dev/nvme0n1", "p"), ("fit02", "/dev/vda", "")):
        switch_off(machines, name)
        told[name] = run_in_guest(LOOK.format(disk=path, p=part), [disks[path]])
    assert told["saved"].startswith("1\n")
    assert told["fit01"] == told["fit02"] == told["saved"]


def test_disks_that_want_all_drivers_are_loaded_and_boot(make_machines):
    machines = make_machines(2, "fit01:sata", "fit02:usb")
    with told_by_machines(machines):
        said = ended(machines, 0, "rhubarbe-load", "--verify", "--wait", "1-2")
    assert len(re.findall(f"runs: .*{STAMP}", said)) == 2, said
