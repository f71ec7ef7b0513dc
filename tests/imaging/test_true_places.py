"""Parts of disks: partitions that are left out, single slices, disks that have grown."""

import os

import pytest
from proving.kinds import KINDS, Raw
from proving.lives import Former
from proving.places import MIB, Place, junk
from proving.proof import Source, digest, restore
from proving.tables import tell_signatures
from proving.targets import TARGETS, program, unzip

pytestmark = [pytest.mark.full, pytest.mark.timeout(200)]
TABLES = ["mbr", "logical", "gpt"]


@pytest.fixture(autouse=True)
def _tools(tools, attached):
    tools.need("sfdisk", "sgdisk", "wipefs", "blkid", "mdadm")
    del attached  # which skips where there are no loop devices


def part_of(path, number, disk):
    """Return the digest of a partition, by itself."""
    with disk.on(path).place(number).device() as device:
        return Raw(0).tell(device, None)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("is_last", [False, True])
def test_what_is_left_out_is_not_touched(table, sector, is_last, tmp_path):
    source = Source(tmp_path, KINDS["swap"], table, sector)
    left_out = max(source.disk.partitions) if is_last else source.number
    image = source.save("-I", str(left_out), by_device=True)
    path, _ = source.target("larger", 0)
    start, size = source.disk.partitions[left_out]
    with path.open("r+b") as file:  # what was there in a former life, tools would find for the disk
        file.seek(start)
        file.write(b"\x55" * size)
    before = part_of(path, left_out, source.disk)
    with source.disk.on(path).whole.device(writable=True) as device:
        done = unzip(image, device)
    assert done.returncode == 0, done.stderr
    assert part_of(path, left_out, source.disk) == before
    wrong = [fault for fault in source.judge(path) if not fault.startswith(f"p{left_out} ")]
    assert not wrong


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["ext4", "swap", "raw"])
def test_a_slice_is_all_that_changes(kind, table, sector, tmp_path):
    source = Source(tmp_path, KINDS[kind], table, sector)
    number = str(source.number)
    image = source.save("-s", number, by_device=True)
    target, former = tmp_path / "target.img", Former(tmp_path)
    target.write_bytes(source.disk.path.read_bytes())
    for place, life in zip(source.disk.partitions.values(), ("raid", "volumes") * 3, strict=False):
        former.on(target, *place, life)
    start, size = source.disk.partitions[source.number]
    around = [Place(target, 0, start), Place(target, start + size, source.disk.size - start - size)]
    before = [tell_digest(place) for place in around]
    with source.disk.on(target).whole.device(writable=True) as device:
        done = program("imageunzip", "-s", number, "--verify", image, device)
    assert done.returncode == 0, done.stderr
    assert [tell_digest(place) for place in around] == before
    place = source.disk.on(target).place(source.number)
    assert as_told(source, tell_signatures(place)) == tell_signatures(place)


def as_told(source, about):
    """Return what was said of the same of the source's partition of the kind."""
    return {tool: source.said[f"p{source.number} {tool}"] for tool in about}


def tell_digest(place):
    with place.device() as device:
        return Raw(0).tell(device, None)


@pytest.mark.parametrize("kind", ["ext4", "luks1", "swap"])
def test_a_slice_goes_onto_a_device_of_its_own(kind, tmp_path):
    """Where that is larger, what is behind the slice's end is not touched."""
    source = Source(tmp_path, KINDS[kind], "gpt", 512)
    image = source.save("-s", str(source.number))
    size = source.disk.partitions[source.number][1]
    path = junk(tmp_path / "target.img", size + 9 * MIB)
    Former(tmp_path).on(path, 0, size, "volumes")
    behind = digest(path, size)
    done = unzip(image, path)
    assert done.returncode == 0, done.stderr
    assert digest(path, size) == behind
    place = Place(path, 0, size)
    assert as_told(source, tell_signatures(place)) == tell_signatures(place)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("by_device", [False, True])
@pytest.mark.parametrize("name", ["same", "larger", "smaller", "cut"])
def test_a_disk_that_has_grown_is_saved_with_its_tables(name, by_device, sector, tmp_path):
    """The backup table of its GPT is in the middle then, with free space around it."""
    source = Source(tmp_path, KINDS["swap"], "gpt", sector)
    os.truncate(source.disk.path, source.disk.size + 40 * MIB)
    image = source.save(by_device=by_device)
    verdict = restore(source, image, name, 0)
    assert not verdict.faults, str(verdict)
    assert verdict.became in TARGETS[name].expected(source.disk)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "ntfs", "fat32", "f2fs", "swap"])
def test_what_is_behind_a_filesystem_comes_with_it(kind, tmp_path, tools):
    """Its partition is larger, and what is there may be anybody's: alike for all of them."""
    tools.need(*KINDS[kind].needs)
    behind = Behind(KINDS[kind])
    source = Source(tmp_path, behind, "gpt", 512)
    verdicts = [restore(source, source.save(), name, 2) for name in ("same", "larger")]
    assert not [str(verdict) for verdict in verdicts if verdict.faults]


class Behind:
    """A filesystem that ends before its partition does, and noise behind it."""

    def __init__(self, kind):
        self._kind, self.types, self.mib = kind, kind.types, kind.mib + 10

    def make(self, device, directory):
        end = self._kind.mib * MIB
        with Place(device, 0, end).device(writable=True) as shorter:
            self._kind.make(shorter, directory)
        with Place(device, end + 3 * MIB, 4 * MIB).device(writable=True) as behind:
            Raw(0).make(behind, directory)

    def tell(self, device, directory):
        with Place(device, (self._kind.mib + 3) * MIB, 4 * MIB).device() as behind:
            said = {"behind": Raw(0).tell(behind, directory)["sha256sum"]}
        with Place(device, 0, self._kind.mib * MIB).device() as shorter:
            return said | self._kind.tell(shorter, directory)
