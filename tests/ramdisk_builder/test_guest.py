"""The guest runs scripts with the tools and drivers that it promises, and tells how they ended."""

import pytest
from guest import Drive, GuestFailed, run_in_guest

pytestmark = [pytest.mark.full, pytest.mark.alone, pytest.mark.timeout(300)]
MIB = 1 << 20
KINDS = """\
mdadm --create /dev/md0 --run --metadata=1.0 --level=1 --raid-devices=2 /dev/vda missing 2>/dev/null
pvcreate -q /dev/md0 >/dev/null
vgcreate -q group /dev/md0 >/dev/null
lvcreate -q -y -n volume -L 64M group >/dev/null
echo -n secret > key
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
    /dev/group/volume key
cryptsetup open --key-file key /dev/group/volume opened
mkfs.vfat /dev/mapper/opened >/dev/null 2>&1
mount /dev/mapper/opened /mnt
echo "of a file" > /mnt/file
umount /mnt
cryptsetup close opened
vgchange -q -an group >/dev/null
mdadm --stop /dev/md0 2>/dev/null
wipefs -n -O TYPE /dev/vda | grep raid
mkfs.f2fs -q /dev/nvme0n1
blkid -o value -s TYPE /dev/nvme0n1
blockdev --getss /dev/nvme0n1
"""
AGAIN = """\
mdadm --assemble --run /dev/md0 /dev/vda 2>/dev/null
vgchange -q -ay group >/dev/null
echo -n secret > key
cryptsetup open --key-file key /dev/group/volume opened
mount /dev/mapper/opened /mnt
cat /mnt/file
umount /mnt
mount -t f2fs /dev/nvme0n1 /mnt
df --output=fstype /mnt | tail -n 1
"""


def make_disk(path, size=128 * MIB):
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_what_one_guest_has_made_another_finds(tmp_path):
    disks = [
        make_disk(tmp_path / "raid"),
        Drive(make_disk(tmp_path / "large-sectors"), "nvme", sector=4096),
    ]
    assert run_in_guest(KINDS, disks).split() == ["linux_raid_member", "f2fs", "4096"]
    assert run_in_guest(AGAIN, disks).splitlines() == ["of a file", "f2fs"]


def test_a_command_that_fails_ends_the_script_and_is_told():
    with pytest.raises(GuestFailed, match="here") as failed:
        run_in_guest("echo here; (exit 3) | cat; echo not here")
    assert failed.value.status == 3
    assert "not here" not in failed.value.said


def test_what_never_ends_is_ended():
    with pytest.raises(GuestFailed, match="did not end within 20 s") as failed:
        run_in_guest("sleep 1000", within=20)
    assert failed.value.status == -1
