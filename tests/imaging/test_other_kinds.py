"""Swap, FAT, what partclone knows, and containers: imaged, restored onto junk, checked."""

import os
import subprocess

import pytest

from rhubarbe.ndz.check import check_file

MIB = 1 << 20
MADE = {
    "xfs": (320, ["mkfs.xfs", "-q", "-f"], ["xfs_repair", "-n"]),
    "btrfs": (200, ["mkfs.btrfs", "-q", "-f"], ["btrfs", "check"]),
    "ntfs": (64, ["mkfs.ntfs", "-q", "-F", "-f"], ["ntfsfix", "-n"]),
    "exfat": (64, ["mkfs.exfat"], ["fsck.exfat", "-n"]),
    "f2fs": (128, ["mkfs.f2fs", "-q", "-f"], ["fsck.f2fs", "--dry-run"]),
}


@pytest.fixture
def filesystem(tools, tmp_path):
    def make(kind):
        mib, mkfs, fsck = MADE[kind]
        tools.need(mkfs[0], fsck[0], f"partclone.{kind}")
        disk = tmp_path / "disk.img"
        with disk.open("wb") as file:
            file.truncate(mib * MIB)
        tools.run(*mkfs, disk)
        return disk, fsck

    return make


@pytest.mark.full
@pytest.mark.parametrize("kind", MADE)
def test_what_partclone_knows(kind, filesystem, tools, programs, tmp_path):
    disk, fsck = filesystem(kind)
    image = tmp_path / "image.ndz"
    programs.zip("-l", disk, image)
    assert check_file(image).data_bytes < disk.stat().st_size * 0.6
    target = programs.restore_on_junk(image, disk.stat().st_size)
    done = subprocess.run([*fsck, target], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.full
def test_files_of_a_mounted_and_unmounted_xfs(filesystem, tools, programs, tmp_path):
    tools.need("mount", "umount", "losetup")
    if os.getuid():
        pytest.skip("needs root to mount")
    disk, fsck = filesystem("xfs")
    point = tmp_path / "point"
    point.mkdir()
    tools.run("mount", "-o", "loop", disk, point)
    try:
        files = tools.files(point / "files")
        for name in list(files)[::3]:
            (point / "files" / name).unlink()
            del files[name]
    finally:
        tools.run("umount", point)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    target = programs.restore_on_junk(tmp_path / "image.ndz", disk.stat().st_size)
    tools.run(*fsck, target)
    tools.run("mount", "-o", "loop,ro", target, point)
    try:
        found = {path.name: path.read_bytes() for path in (point / "files").iterdir()}
    finally:
        tools.run("umount", point)
    assert found == files


def test_a_kind_that_partclone_cannot_tell_is_stored_raw(
    tools, programs, tmp_path, monkeypatch, capsys
):
    disk = tools.junk(tmp_path / "disk.img", MIB)
    with disk.open("r+b") as file:
        file.write(b"XFSB")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("rhubarbe.imaging.filesystems.partclone._ADMIN_PATH", "/nowhere")
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "xfs, but partclone.xfs is not installed: stored raw" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == MIB


@pytest.mark.parametrize(("bits", "mib", "cluster"), [(12, 8, 8), (16, 32, 4), (32, 64, 1)])
def test_fat(tools, programs, tmp_path, bits, mib, cluster):
    tools.need("mkfs.vfat", "mcopy", "mdel", "fsck.fat")
    disk = tools.junk(tmp_path / "disk.img", mib * MIB)
    tools.run("mkfs.vfat", "-F", bits, "-s", cluster, disk)
    files = tools.files(tmp_path / "files", count=20)
    tools.run("mcopy", "-i", disk, *sorted((tmp_path / "files").iterdir()), "::/")
    for name in list(files)[::3]:
        tools.run("mdel", "-i", disk, f"::/{name}")
        del files[name]
    image = tmp_path / "image.ndz"
    programs.zip("-l", disk, image)
    assert check_file(image).data_bytes < sum(map(len, files.values())) + 3 * MIB
    target = programs.restore_on_junk(image, disk.stat().st_size)
    tools.run("fsck.fat", "-n", target)
    for name, data in files.items():
        tools.run("mcopy", "-n", "-i", target, f"::/{name}", tmp_path / "one")
        assert (tmp_path / "one").read_bytes() == data
        (tmp_path / "one").unlink()


@pytest.mark.parametrize("mark", [b"LUKS\xba\xbe", bytes(512) + b"LABELONE"])
def test_containers_are_stored_raw_whatever_else_they_resemble(
    tools, programs, tmp_path, capsys, mark
):
    tools.need("mke2fs")
    disk = tools.junk(tmp_path / "disk.img", 4 * MIB)
    tools.run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard", disk)
    with disk.open("r+b") as file:
        file.write(mark)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert ": stored raw" in capsys.readouterr().err
    target = programs.restore_on_junk(tmp_path / "image.ndz", 4 * MIB)
    assert target.read_bytes() == disk.read_bytes()


def test_a_hibernated_swap_is_stored_whole(tools, programs, tmp_path, capsys):
    disk = tools.junk(tmp_path / "disk.img", MIB)
    with disk.open("r+b") as file:
        file.seek(4086)
        file.write(b"S1SUSPEND\0")
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "a hibernated system is in its swap" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == MIB


def test_the_marks_of_two_kinds_are_not_trusted(tools, programs, tmp_path, capsys):
    tools.need("mke2fs")
    disk = tools.junk(tmp_path / "disk.img", 4 * MIB)
    tools.run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard", disk)
    with disk.open("r+b") as file:
        file.seek(4086)
        file.write(b"SWAPSPACE2")
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "bears the marks of ext and swap: stored raw" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == 4 * MIB
