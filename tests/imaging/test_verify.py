"""Verification reads the disk, not memory: it sees what was changed behind the restore."""

import os
from pathlib import Path

import pytest

from rhubarbe.imaging.errors import VerifyError
from rhubarbe.imaging.restore import Restorer, Target
from rhubarbe.imaging.verify import DiskReader


@pytest.fixture
def restored(small_image, tools, tmp_path):
    """A target and its finished restorer."""
    path = tools.junk(tmp_path / "disk.img", 16 << 20)
    with Target.open(str(path), keep_size=True) as target:
        restorer = Restorer(target, verify=True)
        restorer.submit(0, small_image("d8-l"))
        restorer.finish()
        yield path, target, restorer


def test_what_was_written_is_read_back(restored):
    _, _, restorer = restored
    compared, is_proven = restorer.verify()
    assert compared == 4394 * 512
    assert is_proven


@pytest.mark.parametrize("at", [1024, 4096 * 10])
def test_what_changed_behind_the_restore_is_found(restored, at):
    path, _, restorer = restored
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([file.read(1)[0] ^ 1]))
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(VerifyError, match="chunk 0, in sectors 0 to 18563"):
        restorer.verify()


def test_lost_writes_are_found(small_image, tools, tmp_path, monkeypatch):
    path = tools.junk(tmp_path / "disk.img", 16 << 20)
    real = os.pwrite
    lost = []

    def pwrite(descriptor, data, offset):
        if not lost and any(data):  # not the zeros that the disk's start holds meanwhile
            lost.append(offset)
            return len(data)
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with Target.open(str(path), keep_size=True) as target:
        restorer = Restorer(target, verify=True)
        restorer.submit(0, small_image("d8-l"))
        restorer.finish()
        with pytest.raises(VerifyError):
            restorer.verify()
    assert lost


def read_from_devices():
    """Bytes that this process has had read from block devices."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes")))


def test_the_reader_goes_past_the_cache(restored):
    """Though all of it is in memory, it is read from the device."""
    path, target, _ = restored
    os.fsync(target.descriptor)
    expected = path.read_bytes()
    before = read_from_devices()
    with DiskReader(target.descriptor, str(path)) as reader:
        data = b"".join(reader.read(0, 1 << 20))
        if not reader.is_direct:
            pytest.skip("this filesystem has no O_DIRECT")
    assert read_from_devices() > before
    assert data == expected[: 1 << 20]


def test_small_ranges_that_are_close_are_read_together(restored, monkeypatch):
    path, target, _ = restored
    expected = path.read_bytes()
    reads = []
    real = os.preadv

    def preadv(descriptor, buffers, offset, *flags):
        if not flags:
            reads.append(offset)
        return real(descriptor, buffers, offset, *flags)

    monkeypatch.setattr(os, "preadv", preadv)
    ranges = [(start, 512) for start in range(1024, 60000, 1024)] + [(5 << 20, 3 << 20)]
    with DiskReader(target.descriptor, str(path)) as reader:
        for start, length in ranges:
            assert b"".join(reader.read(start, length)) == expected[start : start + length]
    assert len(set(reads)) == 4


def test_without_direct_reads_the_cache_is_dropped_first(restored):
    path, target, _ = restored
    path.read_bytes()
    with DiskReader(target.descriptor, str(path)) as reader:
        reader._use_cache()
        assert b"".join(reader.read(0, 3 << 20)) == path.read_bytes()[: 3 << 20]
