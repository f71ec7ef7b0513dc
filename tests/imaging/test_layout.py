"""What of a disk is stored and what is left out, at the very edges, and what is said of it."""

import struct
import zlib
from pathlib import Path

import pytest

from rhubarbe.disk.errors import PartitionError
from rhubarbe.imaging import layout as layout_module
from rhubarbe.imaging.errors import SourceError
from rhubarbe.imaging.filesystems.usage import Usage
from rhubarbe.imaging.layout import (
    BOOT_GAP,
    FIRST_EDGE,
    LAST_EDGE,
    LONG_TAIL,
    MIN_FREE,
    Layout,
    PartitionChoice,
    plan,
)
from rhubarbe.imaging.source import Source
from rhubarbe.ndz.header import SECTORS_MAX

FIRST, SECTORS = 2048, 65536
MIB, GIB, TIB = 2048, 2048 << 10, 2048 << 20  # in sectors
RAW = "of no known kind: stored raw"
UNTOLD = "MBR: read in sectors of 512 bytes, as nothing tells; --sector-size says otherwise"


def entry(start, size, kind=0xDA):
    return struct.pack("<B3sB3sII", 0, bytes(3), kind, bytes(3), start, size)


def mbr(*partitions):
    """Return the table of these (start, size), or of these sixteen bytes."""
    entries = [each if isinstance(each, bytes) else entry(*each) for each in partitions]
    return {0: bytes(446) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"}


def gpt(sectors, *partitions, copies=(1, 2)):
    """Return a GPT of these (start, size), the first or the second copy of it or both."""
    table = b"".join(
        struct.pack("<16s16sQQQ72s", b"k" * 16, b"i" * 16, start, start + size - 1, 0, b"")
        for start, size in partitions
    ).ljust(128 * 128, b"\0")

    def header(at, alternate, entries_at):
        fields = (at, alternate, 34, sectors - 34, b"d" * 16, entries_at, 128, 128)
        parts = ("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92)
        unsealed = struct.pack(*parts, 0, 0, *fields, zlib.crc32(table))
        return struct.pack(*parts, zlib.crc32(unsealed), 0, *fields, zlib.crc32(table))

    written = mbr((1, min(sectors - 1, 0xFFFFFFFF), 0xEE))
    if 1 in copies:
        written |= {1: header(1, sectors - 1, 2), 2: table}
    if 2 in copies:
        written |= {sectors - 33: table, sectors - 1: header(sectors - 1, 1, sectors - 33)}
    return written


def swap(at, sectors):
    """Return what mkswap writes for so many sectors: of them, 64 are kept."""
    pages = sectors // 8
    return {at + 2: struct.pack("<II", 1, pages - 1), at + 7: bytes(502) + b"SWAPSPACE2"}


@pytest.fixture
def plan_of(tmp_path):
    """Plan the image of a disk of so many sectors, with these bytes from these sectors on."""

    def plan_of(sectors, written, **choice):
        disk = tmp_path / "disk.img"
        with disk.open("wb") as file:
            for at, content in written.items():
                file.seek(at * 512)
                file.write(content)
            file.truncate(sectors * 512)
        with Source(str(disk)) as source:
            layout = plan(source, PartitionChoice(**choice))
        layout.remarks = [words.replace(str(disk), "DISK") for words in layout.remarks]
        return layout

    return plan_of


@pytest.fixture
def planned(tmp_path):
    """Plan the image of a disk of zeros with these partitions, of a kind that is stored whole."""

    def planned(*partitions):
        disk = tmp_path / "disk.img"
        table = b"".join(entry(start, size) for start, size in partitions).ljust(64, b"\0")
        disk.write_bytes(bytes(446) + table + b"\x55\xaa")
        with disk.open("r+b") as file:
            file.truncate(SECTORS * 512)
        with Source(str(disk)) as source:
            return plan(source, PartitionChoice())

    return planned


@pytest.mark.parametrize("more", [-2048, -1, 0, 1, MIN_FREE - 1])
def test_a_gap_no_larger_than_what_is_always_stored_of_its_ends_is_stored(planned, more):
    second = FIRST + 1 + FIRST_EDGE + LAST_EDGE + more
    layout = planned((FIRST, 1), (second, 1))
    assert layout.ranges[0] == (0, second + 1 + FIRST_EDGE)
    assert layout.blank == ([(FIRST + 1 + FIRST_EDGE, second - LAST_EDGE)] if more > 0 else [])


def test_of_a_larger_gap_only_the_ends_are_stored(planned):
    second = FIRST + 1 + FIRST_EDGE + LAST_EDGE + MIN_FREE
    layout = planned((FIRST, 1), (second, 1))
    assert layout.ranges == [
        (0, FIRST + 1 + FIRST_EDGE),
        (second - LAST_EDGE, second + 1 + FIRST_EDGE),
        (SECTORS - LAST_EDGE, SECTORS),
    ]
    assert layout.blank == []


@pytest.mark.parametrize("size", [1, 2047, 2048, 2049, 4096])
def test_a_gap_of_about_a_mebibyte_is_stored_whole(planned, size):
    layout = planned((FIRST, 1), (FIRST + 1 + size, 1))
    assert layout.ranges[0] == (0, FIRST + 1 + size + 1 + FIRST_EDGE)


def ends(start, size):
    """Return what is always stored of a partition, or of a gap, that is larger than both."""
    return [(start, start + FIRST_EDGE), (start + size - LAST_EDGE, start + size)]


# What a layout has beside what is stored, for a disk with an MBR that does not tell its sectors.
PLAIN = Layout(0, SECTORS, has_mbr=True, remarks=[UNTOLD])


def unused(*numbers):
    return [f"P{number}: unused, NOT SAVING." for number in numbers]


def test_with_raw_all_is_stored_whatever_it_is(plan_of):
    layout = plan_of(SECTORS, swap(0, SECTORS), is_raw=True)
    assert layout == Layout(0, SECTORS, ranges=[(0, SECTORS)])
    assert layout.used_sectors == SECTORS


def test_a_filesystem_without_a_table(plan_of):
    stored = ends(0, SECTORS)
    for choice in ({"is_bare": True}, {}):
        assert plan_of(SECTORS, swap(0, SECTORS), **choice) == Layout(0, SECTORS, ranges=stored)
    layout = plan_of(SECTORS, {SECTORS - 1: b"\xde\x11\xde\x11"})
    said = "DISK: RAID member: stored raw"
    assert layout == Layout(0, SECTORS, ranges=[(0, SECTORS)], remarks=[said])
    layout = plan_of(SECTORS, {}, is_bare=True)
    assert layout == Layout(0, SECTORS, ranges=[(0, SECTORS)], remarks=[f"DISK: {RAW}"])


def test_one_partition_is_counted_from_its_own_start(plan_of):
    written = mbr((FIRST, 8192), (16384, 32768)) | swap(16384, 32768)
    layout = plan_of(SECTORS, written, slice_number=2)
    assert layout == Layout(16384, 32768, ranges=ends(0, 32768))
    layout = plan_of(SECTORS, written, slice_number=1)
    assert layout == Layout(FIRST, 8192, ranges=[(0, 8192)], remarks=[f"P1: {RAW}"])


def test_of_each_partition_what_it_uses_and_its_ends(plan_of):
    written = mbr((FIRST, 8192), (16384, 32768)) | swap(16384, 32768)
    gap = (FIRST + 8192, 16384)
    layout = plan_of(SECTORS, written)
    first, last = ends(16384, 32768)
    assert layout.ranges == [(0, first[1]), (last[0], last[1] + FIRST_EDGE), (61440, SECTORS)]
    assert gap[1] - gap[0] < FIRST_EDGE
    assert layout.remarks == [*unused(3, 4), f"P1: {RAW}"]
    assert not layout.left_out
    assert layout.sector_size == 512


def test_of_an_ignored_partition_nothing_is_stored(plan_of):
    written = mbr((FIRST, 8192), (16384, 32768)) | swap(16384, 32768)
    layout = plan_of(SECTORS, written, ignored=frozenset({1, 3}))
    first, last = ends(16384, 32768)
    assert layout.left_out == [(FIRST, FIRST + 8192)]
    assert layout.ranges == [
        (0, FIRST),
        (FIRST + 8192, first[1]),
        (last[0], last[1] + FIRST_EDGE),
        (61440, SECTORS),
    ]
    assert layout.blank == []
    assert layout.remarks == [*unused(3, 4), "P1: ignored, NOT SAVING."]


def test_short_free_runs_beside_an_ignored_partition_are_blank(plan_of):
    """They are stored, although nothing is in them, up to where nothing may be."""
    start = FIRST + FIRST_EDGE + LAST_EDGE + MIN_FREE - 1
    written = mbr((FIRST - 1, 1), (start, 8192))
    layout = plan_of(SECTORS, written, ignored=frozenset({2}))
    assert layout.ranges[0] == (0, start)
    assert layout.blank == [(FIRST + FIRST_EDGE, start - LAST_EDGE)]


def test_a_partition_can_be_stored_raw(plan_of):
    written = mbr((FIRST, 40960)) | swap(FIRST, 40960)
    layout = plan_of(SECTORS, written, raw=frozenset({1}))
    assert layout.ranges[0] == (0, FIRST + 40960 + FIRST_EDGE)
    assert layout.remarks == [*unused(2, 3, 4), "P1: forcing raw compression."]


@pytest.mark.parametrize("choice", [{"ignored": {3, 9}}, {"raw": {9}}, {"slice_number": 9}])
def test_a_partition_that_is_not_there_cannot_be_chosen(plan_of, choice):
    numbers = {key: n if key == "slice_number" else frozenset(n) for key, n in choice.items()}
    with pytest.raises(PartitionError, match="no slice 9 on this disk; there are: 1"):
        plan_of(SECTORS, mbr((FIRST, 8192)), **numbers)


def test_an_extended_partition_is_no_data_but_the_logical_ones_in_it_are(plan_of):
    written = mbr((FIRST, 49152, 0x05))
    written |= {FIRST + at: content for at, content in mbr((64, 8192)).items()}
    layout = plan_of(SECTORS, written, skips_tail=True)
    assert layout.remarks == [*unused(2, 3, 4), f"P5: {RAW}", UNTOLD]
    end = FIRST + 64 + 8192
    assert layout.ranges == [(0, end + FIRST_EDGE), (SECTORS - LAST_EDGE, SECTORS)]


@pytest.mark.parametrize("choice", [{}, {"slice_number": 1}, {"raw": frozenset({1})}])
def test_what_has_neither_table_nor_filesystem_is_refused_with_the_cure(plan_of, choice):
    words = r"disk\.img: No GPT or MBR partition table found!; with -r everything is stored\Z"
    with pytest.raises(PartitionError, match=words):
        plan_of(SECTORS, {}, **choice)


@pytest.mark.parametrize(
    "choice", [{"slice_number": 1}, {"raw": frozenset({1})}, {"ignored": frozenset({1})}]
)
def test_who_names_a_partition_means_a_table(plan_of, choice):
    with pytest.raises(PartitionError, match="No GPT or MBR"):
        plan_of(SECTORS, swap(0, SECTORS), **choice)


@pytest.mark.parametrize("table", [mbr(), mbr((0, 0, 0x83)), mbr((FIRST, 0, 0x83), (9, 9, 0))])
def test_behind_an_mbr_without_partitions_all_is_stored(plan_of, table):
    layout = plan_of(SECTORS, table)
    assert layout.ranges == [(0, SECTORS)]
    assert layout.remarks == ["DISK: its MBR has no partitions", f"DISK: {RAW}"]
    for choice in ({"slice_number": 1}, {"raw": frozenset({1})}, {"ignored": frozenset({1})}):
        with pytest.raises(PartitionError, match="its MBR has no partitions; with -r"):
            plan_of(SECTORS, table, **choice)


def test_the_boot_sector_of_a_filesystem_is_no_empty_mbr(plan_of):
    layout = plan_of(SECTORS, mbr() | swap(0, SECTORS), skips_tail=True)
    assert layout.ranges == [(0, FIRST_EDGE), (SECTORS - LAST_EDGE, SECTORS)]
    assert layout.remarks == []


def test_the_size_of_sectors_is_told_or_found(plan_of):
    nothing_known = mbr((FIRST, 8192))
    assert plan_of(SECTORS, nothing_known).sector_size == 512
    layout = plan_of(SECTORS, mbr((FIRST // 8, 1024)), sector_size=4096)
    assert (layout.sector_size, layout.end) == (4096, SECTORS)
    assert layout.ranges[0] == (0, FIRST + 8192 + FIRST_EDGE)
    assert layout.remarks == [*unused(2, 3, 4), f"P1: {RAW}"]
    assert plan_of(SECTORS, nothing_known | swap(FIRST, 8192)).remarks == unused(2, 3, 4)
    found = plan_of(SECTORS, mbr((FIRST // 8, 1024)) | swap(FIRST, 8192))
    assert found.sector_size == 4096
    assert UNTOLD in plan_of(SECTORS, mbr((FIRST, 8192))).remarks


def test_a_gpt_for_sectors_of_another_size_is_refused(plan_of):
    words = r"\A\S*/disk\.img: its GPT counts in sectors of 512 bytes"
    with pytest.raises(PartitionError, match=words):
        plan_of(SECTORS, gpt(SECTORS, (FIRST, 8192)), sector_size=4096)


@pytest.mark.parametrize("copies", [(1, 2), (2,)])
def test_a_gpt_and_its_backup(plan_of, copies):
    layout = plan_of(SECTORS, gpt(SECTORS, (FIRST, 8192), copies=copies))
    said = [f"P1: {RAW}"]
    assert layout.remarks == (said if copies == (1, 2) else ["GPT: using backup GPT", *said])
    assert (layout.base, layout.end, layout.has_mbr) == (0, SECTORS, False)
    end = FIRST + 8192
    assert layout.ranges == [(0, end + FIRST_EDGE), (SECTORS - 33 - LAST_EDGE, SECTORS)]


def test_a_limit_ends_the_image_there(plan_of):
    written = mbr((16384, 32768)) | swap(16384, 32768)
    whole = plan_of(SECTORS, written)
    (_, end), (start, _), *_ = whole.ranges
    assert plan_of(SECTORS, written, limit=SECTORS) == whole
    assert plan_of(SECTORS, written, limit=SECTORS + 1) == whole
    for limit, stored in (
        (end - 1, [(0, end - 1)]),
        (start, [(0, end)]),
        (start + 1, [(0, end), (start, start + 1)]),
    ):
        cut = plan_of(SECTORS, written, limit=limit)
        assert (cut.end, cut.ranges) == (limit, stored)


def test_nothing_to_store_is_no_image(plan_of):
    words = r"disk\.img: \*\*\* No valid data on specified disk/partition!\?\Z"
    with pytest.raises(SourceError, match=words):
        plan_of(SECTORS, {}, is_raw=True, limit=0)
    with pytest.raises(SourceError, match=words):
        plan_of(0, {}, is_bare=True)
    with pytest.raises(SourceError, match=words):
        plan_of(0, {}, is_raw=True)
    assert plan_of(0, {}, is_raw=True, is_file=True).ranges == []


def test_more_than_an_image_can_count_is_refused_not_cut(plan_of):
    most = plan_of(SECTORS_MAX, {}, is_raw=True)
    assert most.ranges == [(0, SECTORS_MAX)]
    words = rf"disk\.img: sector {SECTORS_MAX} is in use, beyond .*\({SECTORS_MAX} sectors, 2 TiB\)"
    with pytest.raises(SourceError, match=words):
        plan_of(SECTORS_MAX + 1, {}, is_raw=True)
    assert plan_of(SECTORS_MAX + 1, {}, is_raw=True, limit=FIRST).ranges == [(0, FIRST)]


@pytest.mark.parametrize("more", [0, 1, 40, 5000])
def test_of_a_larger_disk_all_but_the_backup_of_its_gpt_is_stored(plan_of, more):
    """It is made again from the other copy, where the image is restored; 1 more are 2 TiB."""
    sectors = SECTORS_MAX + more
    layout = plan_of(sectors, gpt(sectors, (FIRST, 8192)))
    stored = [(0, FIRST + 8192 + FIRST_EDGE)]
    if more < 5000:
        stored.append((sectors - 33 - LAST_EDGE, SECTORS_MAX))
    assert layout.ranges == stored
    assert layout.end == sectors


def test_of_a_larger_disk_the_backup_alone_is_not_enough(plan_of):
    assert plan_of(SECTORS_MAX, gpt(SECTORS_MAX, (FIRST, 8192), copies=(2,))).remarks
    words = (
        "the GPT at its start is damaged, and the one at its end is beyond what an image can count"
        r" \(2 TiB\); sgdisk or gdisk can repair it\Z"
    )
    with pytest.raises(SourceError, match=rf"disk\.img: {words}"):
        plan_of(SECTORS_MAX + 1, gpt(SECTORS_MAX + 1, (FIRST, 8192), copies=(2,)))


def test_a_filesystem_is_read_where_it_is_and_no_further(plan_of, monkeypatch):
    asked = []

    def find_usage(read_at, place):
        end = place.size
        asked.append((place.offset, end, place.is_all, Path(place.path).name))
        read = [read_at(at, 16) for at in (0, end - 16, end - 10, end, end + 512)]
        assert [len(got) for got in read] == [16, 16, 10, 0, 0]
        assert read[0][:4] == b"here"
        return Usage("some", ((10_000, 10_100), (20_000, 20_010)), place.sectors)

    monkeypatch.setattr(layout_module, "find_usage", find_usage)
    planned = plan_of(SECTORS, mbr((FIRST, 40_960)) | {FIRST: b"here"})
    assert planned.ranges == [
        (0, FIRST + FIRST_EDGE),
        (FIRST + 10_000, FIRST + 10_100),
        (FIRST + 20_000, FIRST + 20_010),
        (FIRST + 40_960 - LAST_EDGE, FIRST + 40_960 + FIRST_EDGE),
        (SECTORS - LAST_EDGE, SECTORS),
    ]
    plan_of(SECTORS, {0: b"here"}, is_bare=True)
    assert asked == [
        (FIRST * 512, 40_960 * 512, False, "disk.img"),
        (0, SECTORS * 512, True, "disk.img"),
    ]


@pytest.mark.parametrize("tail", [LONG_TAIL - 64, LONG_TAIL, LONG_TAIL + 8])
@pytest.mark.parametrize("skips_tail", [False, True])
def test_what_is_behind_a_filesystem(plan_of, tail, skips_tail):
    size = 32768 + tail
    written = swap(0, 32768) | {32768 + 20000: b"x", size - LAST_EDGE - 1000: bytes(512)}
    layout = plan_of(size, written, is_bare=True, skips_tail=skips_tail)
    first, last = ends(0, size)
    mark = (64 * MIB, 64 * MIB + 128)
    if skips_tail:
        assert layout.ranges == [first, mark, last]
    elif tail <= LONG_TAIL:
        assert layout.ranges == [first, (32768, size)]
    else:
        assert layout.ranges == [first, (32768, 32768 + 20001), mark, last]


def test_the_places_of_further_superblocks_are_stored(plan_of):
    layout = plan_of(300 * GIB, swap(0, 300 * GIB), is_bare=True)
    first, last = ends(0, 300 * GIB)
    marks = [(64 * MIB, 64 * MIB + 128), (256 * GIB, 256 * GIB + 128)]
    assert layout.ranges == [first, *marks, last]
    size = 64 * MIB + 100
    layout = plan_of(size, swap(0, size), is_bare=True, min_free=1)
    assert layout.ranges == ends(0, size)
    layout = plan_of(FIRST + size + 99, mbr((FIRST, size)) | swap(FIRST, size - 4))
    assert layout.ranges[-1] == (FIRST + size - LAST_EDGE, FIRST + size + 99)


@pytest.mark.parametrize("gap", [BOOT_GAP, BOOT_GAP + 1])
def test_before_the_first_partition_all_is_stored_up_to_a_size(plan_of, gap):
    start = 63 + gap  # a table's own sectors are no gap
    layout = plan_of(start + 4096, mbr((start, 4096)))
    if gap == BOOT_GAP:
        assert layout.ranges == [(0, start + 4096)]
    else:
        assert layout.ranges == [(0, 63 + FIRST_EDGE), (start - LAST_EDGE, start + 4096)]


def test_between_partitions_all_is_stored_up_to_the_last_data(plan_of):
    first, second, last = (FIRST, 10), (100_000, 10), (200_000, 10)
    data = {50_000: bytes(511) + b"x", 150_000: b"x", 250_000: b"x"}
    layout = plan_of(300_000, mbr(last, first, second) | data)
    assert layout.ranges == [
        (0, 50_001),
        (100_000 - LAST_EDGE, 150_001),
        (200_000 - LAST_EDGE, 200_010 + FIRST_EDGE),
        (300_000 - LAST_EDGE, 300_000),
    ]
    assert layout.blank == []


def test_without_a_partition_the_ends_of_the_disk_are_stored(plan_of):
    layout = plan_of(SECTORS, gpt(SECTORS) | {30_000: b"x"})
    assert layout.ranges == [(0, 34 + FIRST_EDGE), (SECTORS - 33 - LAST_EDGE, SECTORS)]


@pytest.mark.parametrize("min_free", [0, 1, 100, 101])
def test_how_short_a_free_run_is_filled_can_be_chosen(plan_of, min_free):
    size = FIRST_EDGE + LAST_EDGE + 100
    layout = plan_of(size, swap(0, size), is_bare=True, min_free=min_free)
    assert layout.ranges == (ends(0, size) if min_free <= 100 else [(0, size)])
    assert layout.blank == ([] if min_free <= 100 else [(FIRST_EDGE, FIRST_EDGE + 100)])


@pytest.mark.parametrize("free", [1, MIN_FREE - 1, MIN_FREE])
def test_short_free_runs_at_both_ends_are_filled(free):
    from rhubarbe.imaging.layout import _without_short_gaps

    ranges = _without_short_gaps([(free, 1000), (5000, 6000)], 6000 + free, MIN_FREE)
    if free < MIN_FREE:
        assert ranges == [(0, 1000), (5000, 6000 + free)]
    else:
        assert ranges == [(free, 1000), (5000, 6000)]
    assert _without_short_gaps([(10, 50)], 40, MIN_FREE) == [(0, 50)]
    for min_free in (0, 1):
        assert _without_short_gaps([(0, 9), (10, 20)], 20, min_free) == [(0, 9), (10, 20)]
