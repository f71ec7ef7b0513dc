"""A restore that is cut short leaves nothing that boots; one that ends leaves what it should."""

import os

import pytest

from rhubarbe.imaging.target import HEAD, Target

SIZE = 1 << 20
OLD, NEW = b"o", b"n"


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(OLD * SIZE)
    return path


def test_the_start_is_gone_from_the_first_write_until_all_is_written(disk):
    with Target.open(str(disk), keep_size=True) as target:
        target.write(SIZE // 2, NEW * 512)
        assert disk.read_bytes()[:HEAD] == bytes(HEAD)
        target.write(0, NEW * 8192)
        assert disk.read_bytes()[:HEAD] == bytes(HEAD)
        assert disk.read_bytes()[HEAD:8192] == NEW * (8192 - HEAD)
        target.sync()
    assert disk.read_bytes()[:8192] == NEW * 8192


def test_a_restore_that_stops_leaves_no_start(disk):
    with Target.open(str(disk), keep_size=True) as target:
        target.write(0, NEW * 8192)
    content = disk.read_bytes()
    assert content[:HEAD] == bytes(HEAD)
    assert content[8192:] == OLD * (SIZE - 8192)


def test_nothing_is_touched_before_the_first_write(disk):
    with Target.open(str(disk), keep_size=True) as target:
        target.sync()
    assert disk.read_bytes() == OLD * SIZE


def test_what_the_image_does_not_cover_comes_back(disk):
    with Target.open(str(disk), keep_size=True) as target:
        target.write(512, NEW * 1024)
        target.sync()
    assert disk.read_bytes() == OLD * 512 + NEW * 1024 + OLD * (SIZE - 1536)


def test_free_space_at_the_start_becomes_zero(disk):
    with Target.open(str(disk), keep_size=True, zero_free=True) as target:
        target.write(0, NEW * 512)
        target.zero(512, 8192)
        target.sync()
    assert disk.read_bytes() == NEW * 512 + bytes(8192) + OLD * (SIZE - 8704)


def test_a_disk_smaller_than_the_start(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(OLD * 1024)
    with Target.open(str(path), keep_size=True) as target:
        target.write(0, NEW * 512)
        target.sync()
    assert path.read_bytes() == NEW * 512 + OLD * 512


def test_a_fresh_file_is_written_as_it_comes(tmp_path):
    path = tmp_path / "file"
    with Target.open(str(path)) as target:
        target.write(0, NEW * 512)
        assert path.read_bytes() == NEW * 512


class Power:
    """What a disk whose cache is lost would hold: the writes since the last flush are in doubt."""

    def __init__(self, path, monkeypatch):
        self.safe = bytearray(path.read_bytes())
        self.doubtful = []
        self._write, self._flush = os.pwrite, os.fsync
        monkeypatch.setattr(os, "pwrite", self._written)
        monkeypatch.setattr(os, "fsync", self._flushed)
        self.seen = []

    def _written(self, descriptor, data, offset):
        self.doubtful.append((offset, bytes(data)))
        # All are lost but one, whichever that is.
        self.seen += [bytes(self._with(*one)) for one in self.doubtful]
        return self._write(descriptor, data, offset)

    def _flushed(self, descriptor):
        self._flush(descriptor)
        for one in self.doubtful:
            self.safe = self._with(*one)
        self.doubtful.clear()

    def _with(self, offset, data):
        content = bytearray(self.safe)
        content[offset : offset + len(data)] = data
        return content


def test_power_may_fail_at_any_moment(tmp_path, monkeypatch):
    path = tmp_path / "disk"
    path.write_bytes(OLD * 4 * HEAD)
    power = Power(path, monkeypatch)
    with Target.open(str(path), keep_size=True) as target:
        target.write(2 * HEAD, NEW * HEAD)
        target.write(0, NEW * 2 * HEAD)
        target.write(3 * HEAD, NEW * HEAD)
        target.sync()
    whole = NEW * 4 * HEAD
    assert (bytes(power.safe), power.doubtful) == (whole, [])
    assert whole in power.seen
    assert [each for each in power.seen if any(each[:HEAD]) and each != whole] == []
