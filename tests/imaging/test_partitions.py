"""Partition tables as sfdisk writes them, as disks of hybrid boot have them, and as they break."""

import re
import struct

import pytest

from rhubarbe.disk.errors import EmptyTable, PartitionError
from rhubarbe.disk.partitions import read_partitions

MIB = 1 << 20
LOGICALS = "2048,2048,83\n4096,28672,{}\n6144,2048,83\n10240,2048,82\n14336,4096,7\n20480,2048,83\n"


@pytest.fixture
def make_disk(tools, tmp_path):
    def make(mib, script):
        tools.need("sfdisk")
        disk = tmp_path / "disk.img"
        disk.write_bytes(bytes(mib * MIB))
        tools.run("sfdisk", "-q", "--wipe", "never", disk, input=script)
        return disk

    return make


@pytest.fixture
def read():
    """Read the table of a disk in a file."""

    def read(disk):
        data = disk if isinstance(disk, bytes | bytearray) else disk.read_bytes()
        return read_partitions(lambda at, count: data[at : at + count], len(data))

    return read


def by_sfdisk(tools, disk):
    """Number, start, size of each partition, as sfdisk reads them."""
    text = tools.run("sfdisk", "-d", disk)
    found = re.findall(r"img(\d+) : start= *(\d+), size= *(\d+)", text)
    return [tuple(map(int, groups)) for groups in found]


def entry(kind, start, size):
    return struct.pack("<B3sB3sII", 0, bytes(3), kind, bytes(3), start, size)


@pytest.mark.parametrize("kind", ["5", "f", "85"])
def test_logical_partitions_are_those_that_sfdisk_counts(make_disk, read, tools, kind):
    disk = make_disk(24, "label: dos\n" + LOGICALS.format(kind))
    table = read(disk)
    assert [(p.number, p.start, p.size) for p in table.partitions] == by_sfdisk(tools, disk)
    assert [p.is_extended for p in table.partitions] == [False, True] + [False] * 4
    boot_records = [start for start, _ in table.used[1:]]
    assert boot_records[0] == 4096
    assert len(boot_records) == 4
    data = disk.read_bytes()
    assert all(data[at * 512 + 510 : at * 512 + 512] == b"\x55\xaa" for at in boot_records)


def test_a_chain_that_runs_in_a_circle_ends(make_disk, read):
    disk = make_disk(24, "label: dos\n" + LOGICALS.format("5"))
    data = bytearray(disk.read_bytes())
    at = max(start for start, _ in read(disk).used) * 512
    data[at + 462 : at + 478] = entry(5, 0, 2048)  # the last one is followed by the first
    assert read(data) == read(disk)


def test_more_than_four_partitions_and_gaps_of_a_gpt(make_disk, read, tools):
    script = "label: gpt\n" + "".join(f"{2048 * n},1024,L\n" for n in range(1, 7))
    disk = make_disk(16, script)
    table = read(disk)
    assert table.scheme == "gpt"
    assert [(p.number, p.start, p.size) for p in table.partitions] == by_sfdisk(tools, disk)
    assert table.used == ((0, 2048), (32735, 32768))


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize("order", [(0xEE, 0x0C), (0x0C, 0xEE)])
def test_of_a_hybrid_the_gpt_counts(make_disk, read, order, is_damaged):
    """Its MBR repeats some of the partitions, before or after the protective entry."""
    disk = make_disk(16, "label: gpt\n2048,8192,L\n12288,4096,S\n")
    data = bytearray(disk.read_bytes())
    ranges = {0xEE: (1, 2047), 0x0C: (2048, 8192)}
    data[446:510] = b"".join(entry(kind, *ranges[kind]) for kind in order).ljust(64, b"\0")
    if is_damaged:
        data[512 + 60] ^= 1
    table = read(data)
    assert table.scheme == ("gpt-backup" if is_damaged else "gpt")
    assert [(p.number, p.start, p.size) for p in table.partitions] == [
        (1, 2048, 8192),
        (2, 12288, 4096),
    ]


@pytest.mark.parametrize("at", [512 + 16, 512 + 60, 1024 + 40])
def test_any_damage_of_the_primary_gpt_makes_the_backup_count(make_disk, read, at):
    data = bytearray(make_disk(16, "label: gpt\n2048,8192,L\n12288,4096,S\n").read_bytes())
    expected = read(data)
    data[at] ^= 4
    table = read(data)
    assert table.scheme == "gpt-backup"
    assert table.partitions == expected.partitions
    data[-512 + 60] ^= 1
    with pytest.raises(PartitionError, match="both its copies are damaged"):
        read(data)


@pytest.mark.parametrize("has_primary", [False, True])
def test_a_former_gpt_is_not_believed(make_disk, read, has_primary):
    old = make_disk(16, "label: gpt\n2048,8192,L\n").read_bytes()
    data = bytearray(make_disk(16, "label: dos\n4096,2048,83\n").read_bytes())
    data[-33 * 512 :] = old[-33 * 512 :]
    if has_primary:
        data[512 : 34 * 512] = old[512 : 34 * 512]
    table = read(data)
    assert table.scheme == "mbr"
    assert [(p.number, p.start, p.size) for p in table.partitions] == [(1, 4096, 2048)]


@pytest.mark.parametrize(
    ("second", "words"),
    [((0x83, 3000, 100), "P1 and P2 overlap"), ((0x83, 30000, 9000), "P2 ends at sector 39000")],
)
def test_partitions_that_cannot_be_are_refused(make_disk, read, second, words):
    data = bytearray(make_disk(16, "label: dos\n2048,2048,83\n").read_bytes())
    data[462:478] = entry(*second)
    with pytest.raises(PartitionError, match=words):
        read(data)


def test_an_empty_mbr_as_sfdisk_writes_it(make_disk, read, tools):
    disk = make_disk(16, "label: dos\n")
    assert "label: dos" in tools.run("sfdisk", "-d", disk)
    assert by_sfdisk(tools, disk) == []
    with pytest.raises(EmptyTable, match="its MBR has no partitions"):
        read(disk)


def test_the_boot_sector_of_a_filesystem_is_no_table(read):
    data = bytearray(MIB)
    data[510:512] = b"\x55\xaa"
    data[446:462] = b"this is no table"
    with pytest.raises(PartitionError, match="No GPT or MBR"):
        read(data)
