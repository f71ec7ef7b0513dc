import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.ndz.errors import DamagedChunk, NotAnImage
from rhubarbe.ndz.header import ChunkHeader, Region, Relocation, Security, parse_header


@st.composite
def headers(draw):
    version = draw(st.sampled_from([1, 2, 3, 4]))
    first = sector = draw(st.integers(0, 1000)) if version > 1 else 0
    regions = []
    for _ in range(draw(st.integers(0, 40))):
        sector += draw(st.integers(0, 100))
        regions.append(Region(sector, draw(st.integers(1, 5000))))
        sector = regions[-1].end
    last = sector + draw(st.integers(0, 1000))
    if version == 1:
        first, last = (regions[0].start, regions[-1].end) if regions else (0, 0)
    relocation = st.tuples(*[st.integers(0, 2**32 - 1)] * 4).map(Relocation._make)
    return ChunkHeader(
        version=version,
        size=draw(st.integers(0, 1044480)),
        index=draw(st.integers(0, 10**6)),
        total=draw(st.integers(0, 10**6)),
        first=first,
        last=last,
        regions=tuple(regions),
        relocations=tuple(draw(st.lists(relocation, max_size=5))) if version > 1 else (),
        security=Security(image_id=draw(st.binary(min_size=16, max_size=16)))
        if version == 4
        else Security(),
    )


@given(headers())
def test_a_packed_header_parses_to_itself(header):
    area = header.pack()
    assert len(area) == 4096
    assert parse_header(area, header.index) == header


def test_layout_byte_by_byte():
    header = ChunkHeader(
        version=3, size=5, index=7, first=1, last=20, regions=(Region(2, 3), Region(10, 4)),
        relocations=(Relocation(6, 13, 0, 100),),
    )  # fmt: skip
    packed = struct.pack("<4sIiiii", b"\x6b\x69\x69\x69", 5, 7, 0, 4096, 2)
    packed += struct.pack("<IIi", 1, 20, 1) + struct.pack("<4I", 2, 3, 10, 4)
    packed += struct.pack("<4I", 6, 13, 0, 100)
    assert header.pack() == packed.ljust(4096, b"\0")


def test_golden_headers_pack_back_to_their_bytes(golden_headers):
    for name, areas in golden_headers.items():
        for place, area in enumerate(areas):
            header = parse_header(area, place)
            assert header.index == place, name
            assert header.pack() == area, name


GOOD = ChunkHeader(version=3, size=5, index=0, first=0, last=20, regions=(Region(2, 3),))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"regions": (Region(2, 0),)}, "empty region at sector 2"),
        ({"regions": (Region(2, 3), Region(4, 1))}, "region at sector 4 begins before sector 5"),
        ({"regions": (Region(2, 19),)}, "regions end at sector 21, past sector 20"),
        ({"first": 3}, "begins before sector 3"),
        ({"size": 1044481}, "claims 1044481 compressed bytes"),
    ],
)
def test_what_cannot_be_is_refused_by_chunk(change, words):
    with pytest.raises(DamagedChunk, match=rf"chunk 9: .*{words}"):
        parse_header(replace(GOOD, **change).pack(), 9)


@pytest.mark.parametrize("count", [-1, 600, 2**31 - 1])
def test_counts_that_do_not_fit_are_refused(count):
    area = bytearray(GOOD.pack())
    area[20:24] = count.to_bytes(4, "little", signed=True)
    with pytest.raises(DamagedChunk, match="do not fit"):
        parse_header(area, 0)


def test_another_header_area_is_refused():
    area = bytearray(GOOD.pack())
    area[16:20] = (8192).to_bytes(4, "little")
    with pytest.raises(DamagedChunk, match="header area of 8192 bytes"):
        parse_header(area, 0)


@pytest.mark.parametrize("magic", [0x69696968, 0x6969696D, 0])
def test_other_magics_are_no_image(magic):
    area = magic.to_bytes(4, "little") + GOOD.pack()[4:]
    with pytest.raises(NotAnImage, match=f"bad magic 0x{magic:08x}"):
        parse_header(area, 0)
