"""The systems on the disks are real, sparse, and boot only when they are whole."""

import asyncio
import os
import subprocess

import pytest

from rhubarbe.annexe.errors import MissingProgram, ProgramFailed
from rhubarbe.testbed import programs, sample
from rhubarbe.testbed.disk import DiskFile

OFFSET = sample.PARTITION_SECTOR * sample.SECTOR


@pytest.fixture
async def disk(tmp_path):
    workroom = tmp_path / "root"
    workroom.mkdir()
    path = tmp_path / "disk.img"
    await sample.build(sample.sample(2), path, workroom, "ssh-ed25519 AAAA somebody\n")
    return DiskFile(path, asyncio.Semaphore(2))


def overwrite(path, position, content):
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


async def test_a_new_system_boots_and_can_be_read(disk):
    assert disk.partition_offset() == OFFSET
    assert await disk.boots()
    stamp = await disk.read("/etc/rhubarbe-image")
    assert stamp.decode() == "an emulated node - image sample - by rhubarbe-testbed\n"
    assert await disk.read("/root/.ssh/authorized_keys") == b"ssh-ed25519 AAAA somebody\n"
    assert await disk.names("/boot") == ["vmlinuz"]


@pytest.mark.parametrize("path", ["/etc/nothing", '/etc/"x', "relative\nrm /boot"])
async def test_a_file_that_is_not_there_is_none(disk, path):
    assert await disk.read(path) is None
    assert await disk.names(path) is None
    assert await disk.boots()


async def test_the_filesystem_is_clean_and_has_the_default_features(disk):
    arguments = [programs.find("debugfs"), "-R", "stats", f"{disk.path}?offset={OFFSET}"]
    said = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, check=True)
    features = next(line for line in said.stdout.splitlines() if b"features" in line).split()
    assert {b"has_journal", b"extent", b"64bit", b"metadata_csum"} <= set(features)


async def test_the_disk_is_sparse_and_free_blocks_hold_junk(disk):
    status = disk.path.stat()
    assert status.st_size == 96 * sample.MIB
    assert status.st_blocks * 512 < 24 * sample.MIB
    assert await disk.names("/var/tmp") == []


@pytest.mark.parametrize(
    ("position", "content"),
    [
        (510, b"\0\0"),  # the signature
        (0, bytes(446)),  # the boot code
        (446, b"\0"),  # the active mark
        (450, b"\x82"),  # another kind of partition
        (OFFSET + 1024, bytes(1024)),  # the superblock
    ],
)
async def test_a_disk_without_its_beginnings_does_not_boot(disk, position, content):
    overwrite(disk.path, position, content)
    assert not await disk.boots()


async def test_a_disk_whose_kernel_is_half_written_does_not_boot(disk):
    kernel = await disk.read("/boot/vmlinuz")
    where = disk.path.read_bytes().index(kernel[-4096:])
    overwrite(disk.path, where, bytes(4096))
    assert not await disk.boots()
    assert await disk.read("/etc/hostname") == b"sample\n"


async def test_a_disk_full_of_junk_or_shorter_than_a_sector_does_not_boot(disk, tmp_path):
    overwrite(disk.path, OFFSET + 2048, os.urandom(1 << 20))
    assert not await disk.boots()
    disk.path.write_bytes(b"short")
    assert not await disk.boots()


def test_a_seal_breaks_with_any_byte():
    whole = sample.sealed(b"content")
    assert sample.is_sealed(whole)
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 1
        assert not sample.is_sealed(bytes(broken))
    assert not sample.is_sealed(b"")
    assert not sample.is_sealed(whole[:32])


def test_a_sparse_copy_keeps_content_and_holes(tmp_path):
    source, copy = tmp_path / "source", tmp_path / "copy"
    with source.open("wb") as file:
        file.truncate(32 << 20)
        for position in (0, 5 << 20, (32 << 20) - 10):
            file.seek(position)
            file.write(b"0123456789")
    sample.copy_sparsely(source, copy)
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_blocks <= 2 * source.stat().st_blocks < 100


async def test_a_program_that_fails_is_told_with_its_last_words():
    with pytest.raises(ProgramFailed, match="ended with 3: that is why"):
        await programs.run(["/bin/sh", "-c", "echo first >&2; echo that is why >&2; exit 3"])
    with pytest.raises(ProgramFailed, match="did not end within"):
        await programs.run(["/bin/sh", "-c", "exec sleep 60"], limit=0.1)


def test_a_missing_program_is_told_with_its_package(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingProgram, match="apt-get install e2fsprogs"):
        programs.find("mke2fs")
