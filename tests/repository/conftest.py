"""Real filesystems, on disks of every form, imaged."""

import os
import struct
import subprocess

import pytest
from gpts import gpt

from rhubarbe.imaging.imagezip import main as imagezip

SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MIB = 1 << 20
LINUX, GPT, EXTENDED = 0x83, 0xEE, 0x05
SIGNATURE = b"\x55\xaa"


def entry(kind, start, size):
    return struct.pack("<B3xB3xII", 0, kind, start, size)


@pytest.fixture
def make_filesystem(tmp_path):
    """Make a filesystem of files given by path; a content that is a Path is a symbolic link."""

    def make(files, *options, name="root", size=8):
        tree = tmp_path / f"{name}.tree"
        for path, content in files.items():
            place = tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                place.write_bytes(content)
            else:
                place.symlink_to(content)
        tree.mkdir(exist_ok=True)
        filesystem = tmp_path / f"{name}.img"
        with filesystem.open("wb") as image:
            image.truncate(size * MIB)
        command = ["mke2fs", "-q", "-F", *(options or ["-t", "ext4"]), "-d", tree, filesystem]
        subprocess.run(command, env={**os.environ, "PATH": SBIN}, check=True, capture_output=True)
        return filesystem

    return make


@pytest.fixture
def make_disk(tmp_path):
    """Put filesystems on a disk, None for a partition of nothing, from 1 MiB on."""

    def make(filesystems, *, label="mbr", sector=512, name="disk"):
        disk = tmp_path / f"{name}.img"
        runs, at = [], MIB
        with disk.open("wb") as out:
            for filesystem in filesystems:
                content = filesystem.read_bytes() if filesystem else bytes(MIB)
                out.seek(at)
                out.write(content)
                runs.append((at // sector, len(content) // sector))
                at += len(content) + MIB
            out.truncate(at + MIB)
            for place, content in LABELS[label](runs, sector):
                out.seek(place)
                out.write(content)
        return disk

    return make


def _mbr(runs, sector):
    table = b"".join(entry(LINUX, *run) for run in runs)
    yield 446, table.ljust(64, b"\0") + SIGNATURE


def _logical(runs, sector):
    """Each in the extended partition, half a MiB after the record that tells of it."""
    before = MIB // 2 // sector
    base = runs[0][0] - before
    yield 446, entry(0x0F, base, 1 << 20).ljust(64, b"\0") + SIGNATURE
    for number, (start, size) in enumerate(runs):
        here = start - before
        following = [each for each, _ in runs[number + 1 :]]
        table = entry(LINUX, before, size)
        if following:
            table += entry(EXTENDED, following[0] - before - base, 1 << 10)
        yield here * sector + 446, table.ljust(64, b"\0") + SIGNATURE


def _gpt(runs, sector):
    yield 446, entry(GPT, 1, 1 << 20).ljust(64, b"\0") + SIGNATURE
    yield sector, gpt(runs, sector, 1 << 20)


LABELS = {"mbr": _mbr, "logical": _logical, "gpt": _gpt}


@pytest.fixture
def image_of():
    def make(disk, *options):
        image = disk.with_suffix(".ndz")
        assert imagezip([*options, str(disk), str(image)]) == 0
        return image

    return make
