"""The partition table of the sample system, as other programs read it."""

import shutil
import subprocess
import uuid

import pytest

from rhubarbe.disk.partitions import read_partitions
from rhubarbe.ramdisk_builder import gpt

SECTORS = 8192
PARTITIONS = {
    1: gpt.Partition(gpt.LINUX, 4096, 4062, "root"),
    14: gpt.Partition(gpt.BIOS_BOOT, 34, 2014, "bios-boot"),
    15: gpt.Partition(gpt.EFI_SYSTEM, 2048, 2048, "efi"),
}


@pytest.fixture
def disk(tmp_path):
    table = gpt.Table(uuid.uuid5(uuid.NAMESPACE_URL, "a disk"), SECTORS, PARTITIONS)
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.write(table.at_the_start(b"code" * 200))
        file.truncate((SECTORS - gpt.AT_THE_END) * gpt.SECTOR)
        file.seek(0, 2)
        file.write(table.at_the_end())
    return path


def told(program, *words):
    found = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin")
    if found is None:
        pytest.skip(f"needs {program}")
    done = subprocess.run([found, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sfdisk_finds_no_error(disk):
    assert "No errors detected." in told("sfdisk", "--verify", disk)
    assert told("sfdisk", "--part-label", disk, "14") == "bios-boot\n"
    identities = {told("sfdisk", "--part-uuid", disk, number) for number in ("1", "14", "15")}
    assert len(identities) == 3


def test_sgdisk_finds_no_error(disk):
    assert "No problems found" in told("sgdisk", "--verify", disk)


def test_either_copy_tells_where_the_partitions_are(disk):
    whole = disk.read_bytes()
    assert len(whole) == SECTORS * gpt.SECTOR
    for content in (whole, whole[:512] + bytes(512) + whole[1024:], whole[:-512] + bytes(512)):
        table = read_partitions(lambda at, count, c=content: c[at : at + count], len(content))
        found = {each.number: (each.start, each.size, each.kind) for each in table.partitions}
        assert found == {
            number: (each.start, each.sectors, str(each.kind).upper())
            for number, each in PARTITIONS.items()
        }


def test_the_code_for_bios_leaves_the_protective_table_as_it_is(disk):
    first = disk.read_bytes()[:512]
    assert first[:440] == b"code" * 110
    assert first[446:462] == bytes.fromhex("00000200eeffffff01000000ff1f0000")
    assert first[510:] == b"\x55\xaa"
