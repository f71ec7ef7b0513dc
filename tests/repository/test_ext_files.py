"""Looking into filesystems: what is there is found, and what lies ends within bounds."""

import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rhubarbe.disk.errors import AbsentFile, FilesystemError
from rhubarbe.disk.ext_files import ExtFilesystem
from rhubarbe.repository.provenance import STAMP

LINES = "2026-03-19@10:24:05 - node fit04 - image mywork - by alice\n"
STAMPED = {STAMP: LINES.encode()}
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
SMALL = ("-b", "1024", "-N", "32", "-O", "^has_journal")


def read_stamp(disk):
    return read_stamp_of(disk.read)


def read_stamp_of(read_at):
    return ExtFilesystem(read_at, 0).read(STAMP)


class Memory(bytearray):
    """A disk in memory; beyond its end all is zeros."""

    def read(self, offset, length):
        return bytes(self[offset : offset + length]).ljust(length, b"\0")


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_a_filesystem_that_lies_is_no_traceback(make_filesystem, kind):
    """Every byte of the superblock, group descriptors and inodes overwritten in turn."""
    disk = Memory(make_filesystem(STAMPED, "-t", kind, *SMALL, size=1).read_bytes())
    assert read_stamp(disk).decode() == LINES
    unreadable = 0
    for at in range(1024, 16 * 1024):
        disk[at] ^= 0xFF
        try:
            read_stamp(disk)
        except FilesystemError:
            unreadable += 1
        disk[at] ^= 0xFF
    assert unreadable > 20


def test_a_tree_of_extents_without_end(make_filesystem):
    disk = Memory(make_filesystem(STAMPED, "-t", "ext4", *SMALL, size=1).read_bytes())
    inode = disk.index(b"\x0a\xf3")  # the first extents are those of the root directory
    node = struct.pack("<HHHHI", 0xF30A, 84, 84, 1, 0)
    block = len(disk) // 1024
    for depth in range(4, -1, -1):
        here = node[:6] + bytes([depth]) + node[7:]
        disk += here + struct.pack("<IIHH", 0, block + 1, 0, 0) * 84 + bytes(4)
        block += 1
    disk[inode : inode + 24] = struct.pack("<HHHHIIIHH", 0xF30A, 1, 4, 5, 0, 0, block - 5, 0, 0)
    disk[1028:1032] = struct.pack("<I", block)  # all of it is in the filesystem
    with pytest.raises(FilesystemError, match="does not end"):
        read_stamp(disk)


@pytest.mark.parametrize("count", [5, 84, 65535])
def test_extents_that_are_more_than_there_is_room_for(make_filesystem, count):
    disk = Memory(make_filesystem(STAMPED, "-t", "ext4", *SMALL, size=1).read_bytes())
    last = disk.rindex(b"\x0a\xf3")  # of the inodes that are used, the stamp's is the last
    disk[last + 2 : last + 4] = struct.pack("<H", count)
    assert ExtFilesystem(disk.read, 0).names("etc") == ["rhubarbe-image"]
    with pytest.raises(FilesystemError):
        read_stamp(disk)


def test_what_is_cut_short_is_told(make_filesystem):
    whole = make_filesystem(STAMPED, "-t", "ext4", *SMALL, size=1).read_bytes()
    for length in (0, 1024, 2047, 2048, 8192):
        cut = whole[:length]
        with pytest.raises(FilesystemError):
            read_stamp_of(lambda at, count, cut=cut: cut[at : at + count])


@pytest.fixture(scope="module")
def lied_about(tmp_path_factory):
    """A filesystem of many names, in a directory with an index, and a file of several extents."""
    tree = tmp_path_factory.mktemp("lies") / "tree"
    (tree / "etc").mkdir(parents=True)
    for number in range(200):
        (tree / "etc" / f"name-{number:03}").touch()
    (tree / STAMP).write_bytes(LINES.encode() * 100)
    path = tree.parent / "root.img"
    with path.open("wb") as image:
        image.truncate(1 << 20)
    command = ["mke2fs", "-q", "-F", *SMALL, "-t", "ext4", "-N", "256", "-d", tree]
    env = {**os.environ, "PATH": SBIN}
    subprocess.run([*command, path], env=env, check=True, capture_output=True)
    return path.read_bytes()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_written_there_it_ends_in_words(lied_about, data):
    disk = Memory(lied_about)
    places = st.integers(1024, 250 * 1024)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(places)
        junk = data.draw(st.binary(min_size=1, max_size=16) | st.just(b"\xff" * 64))
        disk[at : at + len(junk)] = junk
    for look in (lambda files: files.read(STAMP), lambda files: files.names("etc")):
        try:
            look(ExtFilesystem(disk.read, 0))
        except FilesystemError:
            continue
    assert len(disk) == len(lied_about)


@pytest.mark.parametrize("block", [1024, 4096, 65536])
@pytest.mark.parametrize("many", [3, 3000])
def test_all_names_of_a_directory_are_found(make_filesystem, block, many):
    """Those in a directory with an index, too, as e2fsck makes it."""
    names = {f"etc/name-{number:05}": b"" for number in range(many)} | {"etc/last": b"x"}
    options = ("-t", "ext4", "-b", str(block), "-N", "4000")
    path = make_filesystem(names, *options, size=64)
    command = ["e2fsck", "-fyD", path]
    subprocess.run(command, env={**os.environ, "PATH": SBIN}, check=False, capture_output=True)
    files = ExtFilesystem(Memory(path.read_bytes()).read, 0)
    assert sorted(files.names("etc")) == sorted(name.removeprefix("etc/") for name in names)
    assert files.size("etc/last") == 1
    with pytest.raises(AbsentFile):
        files.read(f"etc/name-{many:05}")


def test_what_is_no_file_is_told_from_one(make_filesystem):
    files = {"etc/empty": b"", "etc/link": Path("empty"), "lib": Path("etc")}
    found = ExtFilesystem(Memory(make_filesystem(files).read_bytes()).read, 0)
    assert found.read("etc/empty") == b""
    assert [found.size(path) for path in ("etc/empty", "etc/link", "etc", "gone/away")] == [0] * 4
    assert found.names("etc/empty") == found.names("gone") == found.names("lib") == []
    for path in ("etc/link", "lib/empty", "etc"):
        with pytest.raises(FilesystemError) as caught:
            found.read(path)
        assert not isinstance(caught.value, AbsentFile), path
    with pytest.raises(AbsentFile):
        found.read("etc/empty/below")


def test_what_is_not_written_reads_as_zeros(make_filesystem):
    """Holes, and extents that were only reserved."""
    content = b"begin" + bytes(300_000) + b"end"
    path = make_filesystem({"sparse": content})
    assert ExtFilesystem(Memory(path.read_bytes()).read, 0).read("sparse") == content
    command = ["debugfs", "-w", "-R", "fallocate /sparse 100 140", path]
    subprocess.run(command, env={**os.environ, "PATH": SBIN}, check=True, capture_output=True)
    assert ExtFilesystem(Memory(path.read_bytes()).read, 0).read("sparse") == content


def test_what_is_too_large_is_not_read_in_part(make_filesystem):
    path = make_filesystem({STAMP: LINES.encode() * 100_000}, size=16)
    with pytest.raises(FilesystemError, match="too large"):
        read_stamp(Memory(path.read_bytes()))
    path = make_filesystem({STAMP: LINES.encode() * 6000}, "-t", "ext2", "-b", "1024", name="old")
    with pytest.raises(FilesystemError, match="too many blocks"):
        read_stamp(Memory(path.read_bytes()))
