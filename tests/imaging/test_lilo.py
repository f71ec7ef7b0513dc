"""LILO in a slice: imaged as if the slice began at sector 0, and true wherever it is restored."""

import random
import struct

import lilos
import pytest
from lilos import made_lilo

from rhubarbe.imaging import lilo
from rhubarbe.imaging.bsd_slices import Movable
from rhubarbe.imaging.lilo import movable_lilo

START, SECTORS = 2048, 40000


def slice_of(made, noise=b""):
    data = bytearray(noise.ljust(SECTORS * 512, b"\0"))
    for sector, content in made.items():
        data[sector * 512 : sector * 512 + 512] = content
    return data


def movable(made, start=START, cut=SECTORS * 512):
    """Find what is movable in a slice of these sectors, and zeros; reading it ends at a byte."""

    def read_at(at, count):
        sector, inside = divmod(at, 512)
        content = made.get(sector, bytes(512))[inside : inside + count]
        return content[: max(cut - at, 0)]

    return movable_lilo(read_at, start, SECTORS)


@pytest.mark.parametrize("is_checksum_first", [True, False])
@pytest.mark.parametrize("device", [0xE0, 0xC0, 0xB0, 0xA0])
def test_all_its_sectors_become_as_if_the_slice_began_at_0(device, is_checksum_first):
    options = {"device": device, "is_checksum_first": is_checksum_first}
    found = movable(made_lilo(START, **options))
    assert found.remark == ""
    assert found.patches == made_lilo(0, **options)
    kinds = [relocation.kind for relocation in found.relocations]
    # In the boot sector 5 and 3 of the second stage, in the table 15 images and a RAM disk.
    assert (kinds.count(3), kinds.count(4), kinds.count(5)) == (8 + 16, 5, 1)
    table = [r for r in found.relocations if r.sector in {lilos.TABLE, lilos.TABLE + 1}]
    assert table[-1].kind == 5  # after what it sums up
    place = (lilos.TABLE, 0) if is_checksum_first else (lilos.TABLE + 1, 476)
    assert (table[-1].sector, table[-1].offset) == place


def changed(sector, at, data):
    made = made_lilo(START)
    content = bytearray(made[sector])
    content[at : at + len(data)] = data
    if sector in {lilos.TABLE, lilos.TABLE + 1}:
        made[sector] = bytes(content)
        table = bytearray(made[lilos.TABLE] + made[lilos.TABLE + 1])
        struct.pack_into("<H", table, 0, 0)
        struct.pack_into("<H", table, 0, lilos.xor(table))
        made[lilos.TABLE], made[lilos.TABLE + 1] = bytes(table[:512]), bytes(table[512:])
    else:
        made[sector] = bytes(content)
    return made


@pytest.mark.parametrize(
    ("sector", "at", "data", "words"),
    [
        (0, 12, b"\x16", "it is of version 22"),
        (0, 26, b"\x80", "it counts in cylinders"),
        (0, 24, lilos.address(SECTORS, START), "it leads out of the slice"),
        (0, 24, lilos.address(0, START - 1), "it leads out of the slice"),
        (0, 24, lilos.address(SECTORS - 1, START, 0xA0, 2), "it leads out of the slice"),
        (0, 29, lilos.address(lilos.TABLE + 2, START), "its table is in two pieces"),
        (lilos.KERNEL_MAP, 50, bytes(5), "its map makes no sense"),  # a hole: the rest would stay
        (lilos.KERNEL_MAP, 0, bytes(512), "its map makes no sense"),
        (lilos.KERNEL_MAP, 50, lilos.address(0, 9), "it leads out of the slice"),
        (lilos.TABLE, 2, b"\x01", "its table makes no sense"),
        (lilos.TABLE, 2 + 41, lilos.address(0, 9), "it leads out of the slice"),
    ],
)
def test_one_that_is_not_understood_stays_as_it_is(sector, at, data, words):
    found = movable(changed(sector, at, data))
    assert (found.patches, found.relocations) == ({}, ())
    assert f"its LILO is stored as it is, true only where the slice begins at {START}: " in (
        found.remark
    )
    assert words in found.remark


def test_a_table_with_another_checksum_stays_as_it_is():
    made = made_lilo(START)
    made[lilos.TABLE] = made[lilos.TABLE][:-1] + b"y"
    assert "the checksum of its table is wrong, or another" in movable(made).remark


@pytest.mark.parametrize(("device", "is_moved"), [(0xE0, True), (0xB0, True), (0xC0, False)])
def test_an_address_may_need_more_than_24_bits(device, is_moved):
    start = (1 << 24) - lilos.KERNEL
    found = movable(made_lilo(start, device=device), start)
    assert found.patches == (made_lilo(0, device=device) if is_moved else {})
    assert found.remark.endswith("" if is_moved else ": it counts in 24 bits")


def test_a_map_that_runs_in_a_circle_ends():
    back = lilos.address(lilos.KERNEL_MAP, START)
    found = movable(changed(lilos.KERNEL_MAP + 1, 505, back))
    assert (found.remark, [r.kind for r in found.relocations].count(4)) == ("", 4)


def test_a_map_without_an_end_is_not_followed(monkeypatch):
    monkeypatch.setattr(lilo, "_MAP_SECTORS_MAX", 2)
    assert "its map does not end" in movable(made_lilo(START)).remark


def test_what_is_no_lilo_has_nothing_to_move():
    assert movable({}) == Movable()
    assert movable(made_lilo(0), start=0) == Movable()
    assert movable(made_lilo(START), cut=9) == Movable()


def test_any_bytes_give_an_answer():
    made = made_lilo(START)
    for seed in range(400):
        chance = random.Random(seed)
        data = dict(made)
        for _ in range(chance.randrange(1, 4)):
            sector, at = chance.choice(sorted(made)), chance.randrange(511)
            data[sector] = data[sector][:at] + chance.randbytes(2) + data[sector][at + 2 :]
        found = movable(data, cut=chance.choice([SECTORS * 512, chance.randrange(150 * 512)]))
        assert bool(found.patches) == bool(found.relocations) != bool(found.remark) or (
            found == Movable()
        )


def test_it_boots_from_where_its_slice_is_restored(programs, tools, tmp_path):
    """As far as bytes say: they are those that LILO would have written there."""
    tools.need("sfdisk")
    source, image = tmp_path / "source.img", tmp_path / "image.ndz"
    content = slice_of(made_lilo(START), tools.noise(SECTORS * 512))
    source.write_bytes(bytes(START * 512) + content + bytes(1 << 20))
    script = "label: dos\n{},{},83\n"
    tools.run("sfdisk", "-q", "--wipe", "never", source, input=script.format(START, SECTORS))
    programs.zip("-s1", source, image)
    for start in (START, 70001):
        target = tmp_path / "target.img"
        tools.junk(target, 60 << 20)
        tools.run("sfdisk", "-q", "--wipe", "never", target, input=script.format(start, SECTORS))
        programs.unzip("-s1", "--verify", image, target)
        restored = target.read_bytes()[start * 512 : (start + SECTORS) * 512]
        assert restored == slice_of(made_lilo(start), tools.noise(SECTORS * 512))
    programs.zip("-s1", "-N", source, image)
    programs.unzip(image, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content
