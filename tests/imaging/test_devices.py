"""What takes root: block devices as targets, and a machine whose plug was pulled."""

import hashlib
import json
import os
import shutil

import pytest

from rhubarbe.ndz.check import check_file

MIB = 1 << 20
pytestmark = pytest.mark.full


def test_a_device_keeps_what_the_image_does_not_cover(
    loop, small_image, programs, tools, tmp_path, capsys
):
    facts = json.loads((tools.data / "ndz/results.json").read_text())["d8-l"]
    (tmp_path / "image.ndz").write_bytes(small_image("d8-l"))
    disk = tools.junk(tmp_path / "disk.img", 16 * MIB)
    device = loop(disk)
    programs.unzip("--verify", tmp_path / "image.ndz", device)
    assert "read back from the disk itself" in capsys.readouterr().err
    assert hashlib.sha256(disk.read_bytes()).hexdigest() == facts["unzip_blkdev_sha256"]
    programs.unzip("-zf", tmp_path / "image.ndz", device)
    assert hashlib.sha256(disk.read_bytes()).hexdigest() == facts["unzip_z_sha256"]


def test_a_device_that_is_too_small(loop, small_image, programs, tools, tmp_path, capsys):
    (tmp_path / "image.ndz").write_bytes(small_image("d4-raw"))
    disk = tools.junk(tmp_path / "disk.img", 4 * MIB)
    programs.unzip(tmp_path / "image.ndz", loop(disk), status=1)
    assert "write error: No space left on device" in capsys.readouterr().err
    assert disk.read_bytes() == b"\xaa" * 4 * MIB


def test_verify_sees_what_was_changed_behind_the_device(loop, small_image, tools, tmp_path):
    from rhubarbe.imaging.errors import VerifyError
    from rhubarbe.imaging.restore import Restorer, Target

    disk = tools.junk(tmp_path / "disk.img", 16 * MIB)
    with Target.open(loop(disk)) as target:
        restorer = Restorer(target, verify=True)
        restorer.submit(0, small_image("d8-l"))
        restorer.finish()
        assert restorer.verify()[1]
        with disk.open("r+b") as behind:
            behind.seek(2048)
            behind.write(b"changed")
        with pytest.raises(VerifyError, match="chunk 0"):
            restorer.verify()


def test_a_disk_whose_plug_was_pulled_is_stored_whole(loop, programs, tools, tmp_path, capsys):
    tools.need("mke2fs", "mount", "umount", "e2fsck", "debugfs")
    disk, pulled = tmp_path / "disk.img", tmp_path / "pulled.img"
    disk.write_bytes(bytes(48 * MIB))
    tools.run("mke2fs", "-q", "-F", "-t", "ext4", disk)
    point = tmp_path / "point"
    point.mkdir()
    tools.run("mount", loop(disk), point)
    try:
        files = tools.files(point / "files")
        for path in (point / "files").iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        shutil.copyfile(disk, pulled)
    finally:
        tools.run("umount", point)
    programs.zip("-l", pulled, tmp_path / "image.ndz")
    assert "its ext journal is yet to be replayed: stored whole" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == 48 * MIB
    target = programs.restore_on_junk(tmp_path / "image.ndz", 48 * MIB)
    tools.run("mount", loop(target), point)
    try:
        found = {path.name: path.read_bytes() for path in (point / "files").iterdir()}
    finally:
        tools.run("umount", point)
    assert found == files
