"""Whatever bytes there are: an answer, or an error of the room's, within bounds."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhubarbe.disk import ext, gpt
from rhubarbe.disk.errors import FilesystemError, PartitionError
from rhubarbe.disk.ext_files import ExtFilesystem
from rhubarbe.disk.partitions import gpt_sector_size, protective_entry, read_table, with_type
from rhubarbe.disk.ranges import gaps, merge

MIB = 1 << 20
NUMBERS = st.integers(0, (1 << 32) - 1) | st.sampled_from([0, 1, 2, 63, 2048, 4096])


class Disk(bytearray):
    """A disk in memory, which counts what is read of it."""

    def __init__(self, *content):
        super().__init__(*content)
        self.was_read = 0

    def read_at(self, offset, count):
        assert offset >= 0
        assert count >= 0
        found = bytes(self[offset : offset + count])
        self.was_read += len(found)
        return found


def boot_record(entries):
    packed = b"".join(struct.pack("<B3xB3xII", *entry) for entry in entries)
    return bytes(446) + packed.ljust(64, b"\0") + b"\x55\xaa"


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from([0, 0x80, 1]),
        st.sampled_from([0, 5, 0x0F, 0x83, 0x85, 0xEE]),
        NUMBERS | st.integers(0, 64),
        NUMBERS | st.integers(0, 64),
    ),
    max_size=4,
)


def check_table(disk, sector_size):
    try:
        table = read_table(disk.read_at, len(disk), sector_size)
    except PartitionError:
        return
    assert len(table.partitions) <= 4 * 512 + 1024
    assert all(partition.end >= partition.start >= 0 for partition in table.partitions)
    assert table.end == max((partition.end for partition in table.partitions), default=0)
    assert all(0 <= start <= end for start, end in table.used)


@settings(max_examples=300)
@given(
    records=st.dictionaries(st.integers(0, 64), ENTRIES, max_size=12),
    sector_size=st.sampled_from([512, 1024, 2048, 4096]),
)
def test_any_chain_of_boot_records_ends(records, sector_size):
    disk = Disk(65 * 512)
    for at, entries in records.items():
        disk[at * 512 : (at + 1) * 512] = boot_record(entries)
    check_table(disk, sector_size)
    assert disk.was_read < 4 * MIB


def test_a_chain_as_long_as_the_disk_ends():
    disk = Disk(boot_record([(0, 5, 1, 1 << 20)]))
    for at in range(1, 5000):
        disk += boot_record([(0, 0x83, 1, 1), (0, 5, at, 1)])
    table = read_table(disk.read_at, len(disk), 512)
    assert len(table.partitions) == 1 + 512


HEADER = st.tuples(
    st.sampled_from([92, 512, 513, 91, 0]) | NUMBERS,  # size
    *[st.integers(0, (1 << 64) - 1) | st.integers(0, 200)] * 4,  # at, alternate, usable
    st.integers(0, (1 << 64) - 1) | st.integers(0, 200),  # entries
    NUMBERS | st.sampled_from([128, 1024, 1025]),
    NUMBERS | st.sampled_from([128, 4096, 4097]),
)


@settings(max_examples=300)
@given(fields=HEADER, content=st.binary(max_size=600), seed=st.integers(0, 255))
def test_any_gpt_gives_a_table_or_an_error(fields, content, seed):
    """Also one whose checksums are true, whatever it says."""
    size, at, alternate, first, last, entries_at, count, entry_size = fields
    disk = Disk(boot_record([(0, 0xEE, 1, 100)]).ljust(200 * 512, bytes([seed])))
    disk[3 * 512 : 3 * 512 + len(content)] = content
    length = min(count * entry_size, 1 << 25)
    entries = disk[entries_at * 512 : entries_at * 512 + length] if entries_at < 1 << 40 else b""
    places = (at, alternate, first, last)
    rest = struct.pack("<QQQQ16xQIII", *places, entries_at, count, entry_size, zlib.crc32(entries))
    raw = (struct.pack("<8sIIII", b"EFI PART", 0x10000, size, 0, 0) + rest).ljust(512, b"\0")
    raw = raw[:16] + struct.pack("<I", zlib.crc32(raw[: min(size, 512)])) + raw[20:]
    disk[512:1024] = raw
    check_table(disk, 512)
    assert gpt_sector_size(disk.read_at) in {None, 512}
    assert disk.was_read < 64 * MIB
    if copy := gpt.read_copy(gpt.ReadableDisk(disk.read_at, len(disk), 512), 1):
        assert len(copy.placed(1, 2, 3, 4)) == 512


@settings(max_examples=200)
@given(data=st.binary(max_size=2048))
def test_any_bytes_are_a_table_or_none(data):
    disk = Disk(data)
    check_table(disk, 512)
    protective_entry(data)
    for number in (0, 1, 4, 5):
        try:
            changed = with_type(data, number, 7)
        except PartitionError:
            continue
        assert len(changed) == len(data)


def superblock(values):
    """Return two KiB with a superblock that is sane, but for some of its bytes."""
    data = bytearray(2048)
    struct.pack_into("<II", data, 1024, 64, 256)
    struct.pack_into("<IIIIII", data, 1024 + 0x14, 1, 0, 0, 8192, 8192, 64)
    struct.pack_into("<HH", data, 1024 + 0x38, 0xEF53, 1)
    struct.pack_into("<I", data, 1024 + 0x4C, 1)
    struct.pack_into("<H", data, 1024 + 0x58, 128)
    for at, value in values.items():
        struct.pack_into("<I", data, 1024 + 4 * at, value)
    return data


@settings(max_examples=500)
@given(
    values=st.dictionaries(
        st.sampled_from([1, 5, 6, 7, 8, 10, 14, 22, 23, 24, 25, 63, 65, 84, 147, 148])
        | st.integers(0, 255),
        NUMBERS,
        max_size=6,
    ),
    rest=st.binary(max_size=64),
)
def test_any_ext_superblock_has_sizes_that_can_be_or_is_none(values, rest):
    disk = Disk(superblock(values) + rest * 200)
    try:
        s = ext.read_superblock(disk.read_at)
    except FilesystemError:
        return
    assert 0 < s.groups <= 1 << 20
    assert s.descriptors_a_block * s.descriptor_bytes == s.block_bytes
    assert s.descriptor_block(s.descriptor_blocks - 1) >= 0
    block = bytes(s.block_bytes)
    ext.parse_descriptor(s, block, (s.descriptors_a_block - 1) * s.descriptor_bytes)
    for look in (lambda files: files.read("etc/x"), lambda files: files.names("etc")):
        try:
            look(ExtFilesystem(disk.read_at, 0))
        except FilesystemError:
            continue
    assert disk.was_read < 64 * MIB


@pytest.mark.parametrize(
    "values",
    [
        {25: 0x200, 6: 2, 7: 0},  # clusters smaller than blocks
        {24: 0x80, 63: 100 << 16},  # descriptors that do not fill a block
        {22: 2048},  # inodes larger than a block
        {8: 0},
        {1: 0},
        {6: 7},
    ],
)
def test_sizes_that_cannot_be_are_no_filesystem(values):
    assert ext.read_superblock(Disk(superblock({})).read_at).groups == 1
    with pytest.raises(FilesystemError, match="makes no sense"):
        ext.read_superblock(Disk(superblock(values)).read_at)


@pytest.mark.parametrize("values", [{22: 100}, {22: 192}, {10: 0}])
def test_where_no_inodes_can_be_there_are_no_files(values):
    assert not ext.read_superblock(Disk(superblock(values)).read_at).has_inodes
    with pytest.raises(FilesystemError, match="not understood"):
        ExtFilesystem(Disk(superblock(values)).read_at, 0)


RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)))


@given(inner=RANGES, outer=RANGES)
def test_gaps_are_what_others_leave(inner, outer):
    outer = merge(outer)
    covered = {n for low, high in outer for n in range(low, high)}
    inside = [(n, n + 1) for low, high in inner for n in range(low, high) if n in covered]
    left = covered - {n for n, _ in inside}
    within = [
        (max(low, start), min(high, end))
        for low, high in merge(inside)
        for start, end in outer
        if max(low, start) < min(high, end)
    ]
    found = gaps(within, outer)
    assert {n for low, high in found for n in range(low, high)} == left
