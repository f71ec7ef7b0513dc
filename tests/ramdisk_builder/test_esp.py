"""The EFI system partition, as the system's own tools for FAT read it."""

import subprocess
from pathlib import Path

import pytest

from rhubarbe.ramdisk_builder import esp
from rhubarbe.ramdisk_builder.efi import LOADERS
from rhubarbe.ramdisk_builder.libraries import Sysroot

START = 2048
HERE = Sysroot(Path("/"))
NEEDED = ("usr/sbin/mkfs.fat", "usr/sbin/fsck.fat", "usr/bin/mtools")
pytestmark = pytest.mark.skipif(
    not all(HERE.find(path) for path in NEEDED), reason="needs dosfstools and mtools"
)


def make(directory, name):
    """Make a disk with the partition, from files that say what they are."""
    content = {f"EFI/{place}": directory / place.replace("/", "-") for place in ("B/A.EFI", "d/c")}
    for file in content.values():
        file.write_text(file.name)
    disk = directory / name
    with disk.open("wb") as file:
        file.truncate((START + esp.SECTORS + 64) * esp.SECTOR)
    esp.make(disk, START, 0xABCD1234, content, HERE)
    return disk


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_a_sound_fat32_that_says_what_was_put_there(tmp_path):
    disk = make(tmp_path, "disk.img")
    partition = tmp_path / "partition.img"
    partition.write_bytes(disk.read_bytes()[START * esp.SECTOR : -64 * esp.SECTOR])
    assert "fsck.fat" in run("/usr/sbin/fsck.fat", "-n", "-v", partition)
    assert partition.read_bytes()[82:90] == b"FAT32   "
    for path in ("EFI/B/A.EFI", "EFI/d/c"):
        said = run("/usr/bin/mtools", "-c", "mtype", "-i", partition, f"::/{path}")
        assert said == path.removeprefix("EFI/").replace("/", "-")


def test_two_are_equal_and_nothing_outside_is_written(tmp_path):
    first, second = make(tmp_path, "one.img"), make(tmp_path, "two.img")
    content = first.read_bytes()
    assert content == second.read_bytes()
    assert not any(content[: START * esp.SECTOR])
    assert not any(content[-64 * esp.SECTOR :])


def test_shim_is_where_uefi_looks_and_grub_where_shim_does(tmp_path):
    for name in ("usr/lib/shim/shimx64.efi", "usr/lib/grub/x86_64-efi-signed/grubx64.efi"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / f"{name}.signed").touch()
    content = esp.files(LOADERS["amd64"], Sysroot(tmp_path), tmp_path / "a.cfg")
    assert {path: file.name for path, file in content.items()} == {
        "EFI/BOOT/BOOTX64.EFI": "shimx64.efi.signed",
        "EFI/BOOT/grubx64.efi": "grubx64.efi.signed",
        "EFI/debian/grub.cfg": "a.cfg",
    }
