"""Tables that users have, and that no installer made: hybrid, damaged, stale, without an end."""

import pytest
from proving.kinds import KINDS
from proving.places import MIB, run, sparse
from proving.proof import Source, restore
from proving.tables import Disk
from proving.targets import REFUSED, RIGHT, program

pytestmark = [pytest.mark.full, pytest.mark.timeout(200)]
ALL = ["same", "larger", "smaller"]


@pytest.fixture(autouse=True)
def _tools(tools, attached):
    tools.need("sfdisk", "sgdisk", "wipefs", "blkid", "mdadm")
    del attached  # which skips where there are no loop devices


def prove(source, names, turn=0):
    image = source.save(by_device=True)
    verdicts = [restore(source, image, name, turn + n) for n, name in enumerate(names)]
    assert not [str(verdict) for verdict in verdicts if verdict.faults]


def change(disk, at, data):
    with disk.path.open("r+b") as file:
        file.seek(at if at >= 0 else disk.size + at)
        file.write(data)


class UpToTheEnd(Source):
    """A disk without free space behind its last partition, as cards for small boards are."""

    def _make(self, path, table, sector):
        disk = super()._make(path, table, sector)
        with path.open("r+b") as file:
            file.truncate(disk.end)
        return Disk(path, disk.end, sector, disk.label, disk.partitions)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("table", ["mbr", "logical"])
def test_a_partition_that_ends_with_the_disk(table, sector, tmp_path):
    prove(UpToTheEnd(tmp_path, KINDS["swap"], table, sector), [*ALL, "cut"])


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_hybrid_table(sector, tmp_path):
    """The MBR has one of the partitions of the GPT too, for a firmware that knows no better."""
    source = Source(tmp_path, KINDS["swap"], "gpt", sector)
    with source.disk.whole.device(writable=True) as device:
        run("sgdisk", "-h", "1:EE", device)
    source.said, source.backup = source.tell(source.disk), None  # sgdisk wants the primary here
    prove(source, ALL)


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_protective_entry_of_the_largest_size(sector, tmp_path):
    """As Windows writes it: it stands for any size, and stays."""
    source = Source(tmp_path, KINDS["swap"], "gpt", sector)
    change(source.disk, 446 + 12, b"\xff" * 4)
    source.said = source.tell(source.disk)
    prove(source, ALL)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("name", ["larger", "smaller"])
def test_a_gpt_that_has_lost_its_backup_gets_it_again_on_another_disk(name, sector, tmp_path):
    source = Source(tmp_path, KINDS["swap"], "gpt", sector)
    change(source.disk, -sector, bytes(sector))
    prove(source, [name], 2)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("lost", ["primary", "backup"])
def test_a_gpt_that_has_lost_a_table_is_no_worse_on_a_disk_of_the_same_size(lost, sector, tmp_path):
    source = Source(tmp_path, KINDS["swap"], "gpt", sector)
    change(source.disk, sector if lost == "primary" else -sector, bytes(sector))
    source.said, source.backup = source.tell(source.disk), None
    prove(source, ["same"], 2)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("name", ["larger", "smaller"])
def test_a_gpt_that_has_lost_its_primary_is_right_or_refused_elsewhere(name, sector, tmp_path):
    source = Source(tmp_path, KINDS["swap"], "gpt", sector)
    change(source.disk, sector, bytes(sector))
    either = {RIGHT, REFUSED}
    verdict = restore(source, source.save(by_device=True), name, 2, expected=either)
    assert verdict.became in either, str(verdict)


def test_an_mbr_with_a_stale_gpt_around_it(tmp_path):
    """It was there when the disk was saved, so it is there again: no more, and no less."""
    source = Source(tmp_path, KINDS["swap"], "mbr", 512)
    empty = sparse(tmp_path / "empty.img", source.disk.size)
    run("sfdisk", "-q", empty, input="label: gpt\nsize=8M, name=stale\n")
    tables = empty.read_bytes()
    change(source.disk, 512, tables[512 : 34 * 512])
    change(source.disk, -33 * 512, tables[-33 * 512 :])
    source.said = source.tell(source.disk)
    prove(source, ["same"])


@pytest.mark.parametrize("label", ["sun", "sgi"])
def test_a_table_that_we_do_not_read_is_stored_whole_or_refused(label, tmp_path):
    disk = sparse(tmp_path / "disk.img", 32 * MIB)
    run("sfdisk", "-q", disk, input=f"label: {label}\nsize=8M\n")
    done = program("imagezip", disk, tmp_path / "image.ndz")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    done = program("imagezip", "-r", disk, tmp_path / "image.ndz")
    assert done.returncode == 0, done.stderr
    target = sparse(tmp_path / "target.img", 32 * MIB)
    assert program("imageunzip", "--as-device", tmp_path / "image.ndz", target).returncode == 0
    assert target.read_bytes() == disk.read_bytes()
