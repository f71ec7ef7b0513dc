"""Swap, FAT, and containers: imaged, restored onto junk, checked."""

import os
import re

import pytest

from rhubarbe.ndz.check import check_file

MIB = 1 << 20


def used_of_fat(tools, disk, names):
    """The used ranges in bytes: what comes before the clusters, and those that mshowfat tells."""
    with disk.open("rb") as file:
        first = file.read(512)
    reserved, tables, entries = first[14] + first[15] * 256, first[16], first[17] + first[18] * 256
    size = int.from_bytes(first[22:24], "little") or int.from_bytes(first[36:40], "little")
    start, cluster = (reserved + tables * size) * 512 + entries * 32, first[13] * 512
    text = tools.run("mshowfat", "-i", disk, *[f"::/{name}" for name in names])
    runs = [
        (int(run[1]) - 2, int(run[2] or run[1]) - 1) for run in re.finditer(r"<(\d+)-?(\d*)>", text)
    ]
    assert len(runs) >= len(names)
    return [(0, start), *((start + a * cluster, start + b * cluster) for a, b in sorted(runs))]


@pytest.mark.parametrize(("bits", "mib", "cluster"), [(12, 8, 8), (16, 32, 4), (32, 64, 1)])
def test_fat(tools, programs, tmp_path, bits, mib, cluster):
    tools.need("mkfs.vfat", "mcopy", "mdel", "mshowfat", "fsck.fat")
    disk = tools.noisy(tmp_path / "disk.img", mib * MIB)
    tools.run("mkfs.vfat", "-F", bits, "-s", cluster, disk)
    files = tools.files(tmp_path / "files", count=60, largest=100_000)
    tools.run("mcopy", "-i", disk, *sorted((tmp_path / "files").iterdir()), "::/")
    gone = list(files)[::3]
    tools.run("mdel", "-i", disk, *[f"::/{name}" for name in gone])
    for name in gone:
        del files[name]
    image = tmp_path / "image.ndz"
    programs.zip("-l", disk, image)
    used = tools.with_edges(used_of_fat(tools, disk, files), disk.stat().st_size)
    share = tools.share(image, disk, used)
    target = programs.restore_on_junk(image, disk.stat().st_size)
    tools.run("fsck.fat", "-n", target)
    out = tmp_path / "out"
    out.mkdir()
    tools.run("mcopy", "-n", "-i", target, "::/*", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files
    assert share < 1.1


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


@pytest.mark.parametrize(
    ("bits", "at", "value"), [(16, 0x25, 1), (32, 0x41, 1), (16, -1, 0x7F), (32, -1, 0x07)]
)
def test_a_fat_that_was_not_unmounted_is_stored_whole(  # noqa: PLR0917
    tools, programs, tmp_path, capsys, bits, at, value
):
    tools.need("mkfs.vfat")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(40 * MIB))
    tools.run("mkfs.vfat", "-F", bits, "-s", 1 if bits == 32 else 4, disk)
    with disk.open("r+b") as file:
        reserved = int.from_bytes(file.read(16)[14:16], "little")
        file.seek(at if at > 0 else reserved * 512 + bits // 4 - 1)
        file.write(bytes([value]))
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "its FAT filesystem was not unmounted: stored whole" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == 40 * MIB


def same_on_junk(disk, programs, tmp_path):
    """Image the disk, restore it onto junk; return the target, which must be equal."""
    programs.zip("-l", disk, tmp_path / "image.ndz")
    target = programs.restore_on_junk(tmp_path / "image.ndz", disk.stat().st_size)
    assert target.read_bytes() == disk.read_bytes()
    return target


@pytest.mark.full
@pytest.mark.parametrize("version", ["luks1", "luks2"])
def test_luks(tools, programs, tmp_path, capsys, version):
    tools.need("cryptsetup")
    disk = tools.noisy(tmp_path / "disk.img", 20 * MIB)
    fast = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    options = ["-q", "--type", version, *fast]
    tools.run("cryptsetup", "luksFormat", *options, disk, "-", input="secret")
    target = same_on_junk(disk, programs, tmp_path)
    assert "luks: stored raw" in capsys.readouterr().err
    tools.run("cryptsetup", "open", "--test-passphrase", target, input="secret")


@pytest.mark.full
def test_a_physical_volume_of_lvm(tools, programs, attached, tmp_path, capsys):
    tools.need("pvcreate", "vgcreate", "vgs")

    def lvm(command, device, *arguments, fields=()):
        own = f'global/locking_dir="{tmp_path}" backup/backup=0 backup/archive=0'
        scope = f'devices/filter=["a|^{device}$|","r|.*|"] devices/use_devicesfile=0'
        config = ["--driverloaded", "n", "--config", f"{own} {scope}"]
        return tools.run(command, *config, *fields, *arguments)

    disk, group = tools.noisy(tmp_path / "disk.img", 16 * MIB), f"rhubarbe{os.getpid()}"
    with attached(disk) as device:
        lvm("pvcreate", device, "-y", "-ff", device)
        lvm("vgcreate", device, group, device)
    target = same_on_junk(disk, programs, tmp_path)
    assert "lvm: stored raw" in capsys.readouterr().err
    with attached(target) as device:
        assert lvm("vgs", device, fields=["--noheadings", "-o", "vg_name"]).split() == [group]


def test_swap_is_its_header(tools, programs, tmp_path):
    tools.need("mkswap", "swaplabel")
    disk = tools.noisy(tmp_path / "disk.img", 32 * MIB)
    disk.chmod(0o600)
    tools.run("mkswap", "-q", "-L", "label", disk)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert tools.share(tmp_path / "image.ndz", disk, tools.with_edges([], 32 * MIB)) < 1.01
    target = programs.restore_on_junk(tmp_path / "image.ndz", 32 * MIB)
    assert tools.run("swaplabel", target) == tools.run("swaplabel", disk)
    assert "LABEL: label" in tools.run("swaplabel", target)


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
