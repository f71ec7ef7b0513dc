"""Verification reads the disk, not memory: it sees what was changed behind the restore."""

import os

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


def is_cached(descriptor):
    """Tell whether the first page is in memory; to be asked once, for it brings it there."""
    try:
        return bool(os.preadv(descriptor, [bytearray(4096)], 0, os.RWF_NOWAIT))
    except BlockingIOError:
        return False


def test_the_reader_goes_past_the_cache(restored):
    """Reading through it brings nothing into memory: the pages are read from the device."""
    path, target, _ = restored
    os.fsync(target.descriptor)  # a page that is still to be written would stay
    os.posix_fadvise(target.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    with DiskReader(target.descriptor, str(path)) as reader:
        data = b"".join(reader.read(0, 1 << 20))
        if not reader.is_direct:
            pytest.skip("this filesystem has no O_DIRECT")
    assert not is_cached(target.descriptor)
    assert data == path.read_bytes()[: 1 << 20]


def test_without_direct_reads_the_cache_is_dropped_first(restored):
    path, target, _ = restored
    path.read_bytes()
    with DiskReader(target.descriptor, str(path)) as reader:
        reader._use_cache()
        assert b"".join(reader.read(0, 3 << 20)) == path.read_bytes()[: 3 << 20]
