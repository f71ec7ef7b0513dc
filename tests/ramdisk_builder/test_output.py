"""What is written for a server to serve: whole or not at all, and for all to read."""

import os
import stat

import pytest

from rhubarbe.ramdisk_builder import output


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022])
def test_a_server_can_read_it_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with output.replacing(tmp_path / "srv" / "tftp" / "vmlinuz") as file:
            file.write(b"kernel")
        output.copy(tmp_path / "srv/tftp/vmlinuz", tmp_path / "srv/tftp/pxelinux.cfg/entry")
    finally:
        os.umask(before)
    for path in (tmp_path / "srv").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path
    assert stat.S_IMODE((tmp_path / "srv").stat().st_mode) == 0o755


def test_a_directory_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "mine").mkdir(0o700)
    with output.replacing(tmp_path / "mine" / "vmlinuz") as file:
        file.write(b"kernel")
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700
