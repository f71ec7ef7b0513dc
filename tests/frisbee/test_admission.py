"""What is checked before a chunk is written."""

import pytest
from images import KEY, UUID, signed_image

from rhubarbe.frisbee.admission import Expected, Gate
from rhubarbe.frisbee.errors import TransferFailed, UsageError
from rhubarbe.imaging.errors import TargetTooSmall
from rhubarbe.imaging.target import Target
from rhubarbe.ndz.errors import DamagedChunk, NotAnImage

IMAGE, DISK = signed_image(4)
CHUNKS = [memoryview(IMAGE)[at : at + (1 << 20)] for at in range(0, len(IMAGE), 1 << 20)]
OTHER = memoryview(signed_image(1, "ff" * 16)[0])


@pytest.fixture
def disk(tmp_path):
    """Make a disk of so many bytes, or a file that has no size yet."""
    targets = []

    def make(size=None):
        path = tmp_path / "disk"
        path.write_bytes(b"\xaa" * (size or 0))
        targets.append(Target.open(str(path), keep_size=size is not None))
        return targets[-1]

    yield make
    for target in targets:
        target.close()


def _numbers(admitted):
    return [index for index, _ in admitted]


def test_chunks_wait_for_the_last_one(disk):
    gate = Gate(disk(len(DISK)), 3, most=4)
    assert gate.admit(1, CHUNKS[1]) == []
    assert gate.admit(0, CHUNKS[0]) == []
    assert gate.admit(3, CHUNKS[3]) == [(1, CHUNKS[1]), (0, CHUNKS[0]), (3, CHUNKS[3])]
    assert _numbers(gate.admit(2, CHUNKS[2])) == [2]


def test_the_last_chunk_says_that_the_disk_is_too_small(disk):
    gate = Gate(disk(len(DISK) - 512), 3, most=4)
    assert gate.admit(1, CHUNKS[1]) == []
    message = "too small, nothing was written: .*up to byte 262144, the disk ends at 261632"
    with pytest.raises(TargetTooSmall, match=message):
        gate.admit(3, CHUNKS[3])


def test_no_more_chunks_wait_than_may(disk):
    gate = Gate(disk(1 << 10), 3, most=1)
    assert gate.admit(1, CHUNKS[1]) == []
    assert _numbers(gate.admit(0, CHUNKS[0])) == [1, 0]
    assert _numbers(gate.admit(2, CHUNKS[2])) == [2]
    with pytest.raises(TargetTooSmall, match="too small: write error"):
        gate.admit(3, CHUNKS[3])


def test_what_grows_is_never_too_small(disk):
    assert _numbers(Gate(disk(), 3, most=4).admit(1, CHUNKS[1])) == [1]


def test_the_last_chunk_must_be_one(disk):
    with pytest.raises(NotAnImage):
        Gate(disk(len(DISK)), 3, most=4).admit(3, memoryview(bytes(1 << 20)))


def test_the_uuid_is_that_of_the_image():
    for expected in (Expected(UUID), Expected(UUID.upper()), Expected()):
        expected.check(1, CHUNKS[1])
    with pytest.raises(TransferFailed, match=f"Incorrect Image ID in chunk 0: f+, not {UUID}"):
        Expected(UUID).check(0, OTHER)


@pytest.mark.parametrize("text", ["1234", "g" * 32, "-"])
def test_what_is_no_uuid(text):
    with pytest.raises(UsageError, match="option -u"):
        Expected(text)


def test_a_chunk_is_signed_with_the_key(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY)
    expected = Expected("", str(path))
    expected.check(1, CHUNKS[1])
    damaged = bytearray(CHUNKS[1])
    damaged[5000] ^= 1
    with pytest.raises(DamagedChunk, match="chunk 1: its signature is not that of this key"):
        expected.check(1, memoryview(damaged))
    with pytest.raises(UsageError, match="option -c: cannot read"):
        Expected("", str(tmp_path / "none"))
