"""What is checked before a chunk is written."""

import pytest
from images import KEY, UUID, signed_image

from rhubarbe.frisbee.admission import Expected, Gate
from rhubarbe.frisbee.errors import TransferFailed, UsageError
from rhubarbe.imaging.errors import TargetTooSmall
from rhubarbe.imaging.fitting import ImageExtent
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


@pytest.fixture
def gate(disk):
    """Make a gate before a disk of so many bytes; the first chunk, once it knows it, is kept."""

    def make(size=None, last=3):
        begun = []
        made = Gate(disk(size), last, lambda first, extent: begun.append((first, extent)))
        made.begun = begun
        return made

    return make


@pytest.mark.parametrize("order", [(1, 0, 3), (3, 1, 0), (1, 2, 3, 0)])
def test_chunks_wait_for_the_first_and_the_last_one(gate, order):
    gate = gate(len(DISK))
    for index in order[:-1]:
        assert gate.admit(index, CHUNKS[index]) == []
    assert gate.begun == []
    assert _numbers(gate.admit(order[-1], CHUNKS[order[-1]])) == list(order)
    assert gate.begun == [(CHUNKS[0], ImageExtent(len(DISK), len(DISK) // 512))]
    assert _numbers(gate.admit(7, CHUNKS[2])) == [7]


def test_an_image_of_one_chunk_does_not_wait(gate):
    assert _numbers(gate(len(DISK), last=0).admit(0, CHUNKS[0])) == [0]


def test_nothing_is_admitted_where_the_disk_cannot_take_it(disk):
    def begin(_first, _extent):
        raise TargetTooSmall("too small")

    gate = Gate(disk(512), 3, begin)
    assert gate.admit(0, CHUNKS[0]) == []
    for _ in range(2):
        with pytest.raises(TargetTooSmall):
            gate.admit(3, CHUNKS[3])


def test_what_grows_is_never_too_small(gate):
    assert _numbers(gate().admit(1, CHUNKS[1])) == [1]


def test_the_last_chunk_must_be_one(gate):
    gate = gate(len(DISK))
    gate.admit(0, CHUNKS[0])
    with pytest.raises(NotAnImage):
        gate.admit(3, memoryview(bytes(1 << 20)))


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
