import pytest

from rhubarbe.ndz.errors import DamagedChunk
from rhubarbe.ndz.header import ChunkHeader, Region, Relocation
from rhubarbe.ndz.relocations import check_relocations, short_end, window

REGIONS = (Region(0, 2), Region(10, 4))


def header(*relocations, regions=REGIONS):
    return ChunkHeader(
        version=3, size=0, index=7, first=0, last=100, regions=regions, relocations=relocations
    )


@pytest.mark.parametrize(
    ("relocation", "about"),
    [
        (Relocation(1, 10, 0, 276), (1024, 1428)),
        (Relocation(3, 13, 507, 5), (3067, 3072)),
        (Relocation(4, 11, 2, 512), (1538, 2048)),
        (Relocation(5, 11, 476, 2), (1024, 2048)),  # behind 19 entries of 52 bytes
        (Relocation(5, 11, 478, 2), (1024, 2048)),
        (Relocation(5, 10, 988, 2), (1024, 2048)),
        (Relocation(5, 12, 0, 2), (2048, 3072)),  # before them
        (Relocation(5, 10, 476, 2), None),  # its table begins in another chunk, or in free space
        (Relocation(5, 13, 0, 2), None),  # its table ends in another chunk
        (Relocation(5, 1, 512, 2), None),
        (Relocation(5, 11, 477, 2), None),  # no word
        (Relocation(3, 5, 0, 5), None),  # in free space
        (Relocation(6, 13, 0, 100), None),
        (Relocation(100, 13, 511, 100), None),
    ],
)
def test_a_relocation_is_about_these_bytes(relocation, about):
    about_it = header(relocation)
    assert window(about_it, relocation) == about
    check_relocations(about_it)


@pytest.mark.parametrize(
    "relocation",
    [
        Relocation(1, 13, 109, 276),
        Relocation(2, 13, 512, 276),
        Relocation(3, 13, 508, 5),
        Relocation(3, 0, (1 << 32) - 1, 5),
        Relocation(4, 13, 3, 512),
    ],
)
def test_what_points_beyond_the_data_is_refused(relocation):
    with pytest.raises(DamagedChunk, match="chunk 7: relocation 1 points beyond its data"):
        check_relocations(header(Relocation(0, 0, 0, 0), relocation))


@pytest.mark.parametrize(
    ("sector", "size"), [(12, 100), (14, 100), (13, 0), (13, 513), (0, (1 << 32) - 1)]
)
def test_an_image_ends_inside_its_last_sector_or_nowhere(sector, size):
    check_relocations(header(Relocation(6, 13, 0, 512)))
    with pytest.raises(DamagedChunk, match="its last one is 13"):
        check_relocations(header(Relocation(6, sector, 0, size)))
    with pytest.raises(DamagedChunk, match="its last one is -1"):
        check_relocations(header(Relocation(6, sector, 0, size), regions=()))


def test_where_an_image_ends_inside_a_sector():
    assert short_end(header()) is None
    assert short_end(header(Relocation(6, 13, 0, 353))) == 13 * 512 + 353
