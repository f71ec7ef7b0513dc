"""Labels and addresses become true for the slice that they are restored to."""

import random
import struct
import sys
import zlib

from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.imaging.relocations import Slice, relocated, unknown_kinds
from rhubarbe.ndz.header import ChunkHeader, Region, Relocation, parse_header
from rhubarbe.ndz.relocations import check_relocations


def header(*relocations):
    return ChunkHeader(
        version=3, size=0, index=0, first=0, last=100,
        regions=(Region(0, 2), Region(10, 4)), relocations=relocations,
    )  # fmt: skip


def relocate(data, header, start, size, step=64):
    """Relocate in place, from pieces of any length."""
    pieces = (bytes(data[at : at + step]) for at in range(0, len(data), step))
    data[:] = b"".join(relocated(pieces, header, Slice(start, size)))


def label(partitions):
    data = bytearray(512)
    struct.pack_into("<H", data, 138, len(partitions))
    for number, (size, offset) in enumerate(partitions):
        struct.pack_into("<II", data, 148 + 16 * number, size, offset)
    return data


def entries(data, count):
    return [struct.unpack_from("<II", data, 512 + 148 + 16 * n) for n in range(count)]


def xor(data):
    total = 0
    for (word,) in struct.iter_unpack("<H", data):
        total ^= word
    return total


def test_a_freebsd_label():
    data = bytearray(512) + label([(50, 0), (500, 50), (999, 0), (0, 7)]) + bytes(4 * 512)
    relocate(data, header(Relocation(1, 1, 0, 276)), 63, 100 * 512)
    assert entries(data, 4) == [(50, 63), (50, 113), (100, 63), (0, 7)]
    assert xor(data[512 : 512 + 148 + 4 * 16]) == 0


def test_an_openbsd_label_keeps_c_and_what_follows_h():
    data = bytearray(512) + label([(50, 0)] * 10) + bytes(4 * 512)
    relocate(data, header(Relocation(2, 1, 0, 276)), 63, 100 * 512)
    expected = [(50, 63)] * 2 + [(50, 0)] + [(50, 63)] * 5 + [(50, 0)] * 2
    assert entries(data, 10) == expected


def test_lilo_addresses():
    data = bytearray(6 * 512)
    data[1024 + 7 : 1024 + 12] = bytes([0xFF, 0, 0x40, 0, 9])
    data[3 * 512 : 3 * 512 + 10] = bytes([1, 2, 0x60, 3, 4, 5, 0, 0, 0, 1])
    relocations = [Relocation(3, 10, 7, 5), Relocation(4, 11, 0, 512)]
    relocate(data, header(*relocations), 2, None)
    assert data[1024 + 7 : 1024 + 12] == bytes([1, 1, 0x40, 0, 9])
    assert data[3 * 512 : 3 * 512 + 15] == bytes([3, 2, 0x60, 3, 4, 7, 0, 0, 0, 1]) + bytes(5)


def test_the_checksum_of_lilo_s_table():
    data = bytearray(range(256)) * 12
    relocate(data, header(Relocation(5, 11, 990 - 512, 2)), 2, None)
    table = data[1024 : 1024 + 1024]
    assert xor(table) == 0xABCD


def test_unknown_kinds_are_left_alone_and_told():
    data = bytearray(6 * 512)
    about = header(Relocation(100, 1, 0, 4), Relocation(0, 1, 0, 4))
    relocate(data, about, 9, None)
    assert unknown_kinds(about) == {100}
    assert not any(data)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 5),
            st.sampled_from([0, 1, 10, 11, 12]),
            st.integers(0, 100),
        ),
        max_size=8,
    ),
    st.integers(1, 3072),
)
def test_pieces_of_any_length_are_relocated_alike(abouts, step):
    data = bytearray(random.Random(step).randbytes(6 * 512))
    whole, about = bytearray(data), header(*(Relocation(*each, 5) for each in abouts))
    check_relocations(about)
    relocate(whole, about, 63, 100 * 512, len(data))
    relocate(data, about, 63, 100 * 512, step)
    assert data == whole
    assert len(data) == 6 * 512


def test_numbers_that_do_not_fit_wrap_around():
    data = bytearray(512) + label([(50, 0xFFFFFFFF)] * 3) + bytes(4 * 512)
    relocate(data, header(Relocation(1, 1, 0, 276)), 2, 1 << 50)
    assert entries(data, 1) == [(50, 1)]


# Not by getrusage, which counts what the parent had when it started us.
MEMORY = """
import re, sys
from rhubarbe.imaging.imageunzip import main
status = main(sys.argv[1:])
said = open("/proc/self/status").read()
print(int(re.search(r"VmHWM:\\s*([0-9]+) kB", said)[1]) // 1024)
sys.exit(status)
"""


def test_relocations_of_a_chunk_that_inflates_to_much_take_no_memory(tools, tmp_path):
    tools.need("sfdisk")
    packer, mib = zlib.compressobj(9), 300
    body = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(mib)), packer.flush()])
    sectors = mib << 11
    area = struct.pack("<IIiiii", 0x6969696B, len(body), 0, 0, 4096, 1)
    area += struct.pack("<IIIII", 0, sectors, 200, 0, sectors)
    area += b"".join(struct.pack("<IIII", 3, n * sectors // 200, 7, 5) for n in range(200))
    (tmp_path / "image.ndz").write_bytes((area.ljust(4096, b"\0") + body).ljust(1 << 20, b"\0"))
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(mib + 2 << 20)
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,,83\n")
    arguments = ["-n", "-s1", tmp_path / "image.ndz", disk]
    assert int(tools.run(sys.executable, "-c", MEMORY, *arguments)) < 100


def test_a_restored_slice_is_relocated_and_unknown_kinds_are_told(
    small_image, programs, tools, tmp_path, capsys
):
    tools.need("sfdisk")
    chunk = small_image("d4-raw")
    old = parse_header(chunk, 0)
    fields = {name: getattr(old, name) for name in old.__slots__}
    fields["relocations"] = (Relocation(3, 5, 7, 5), Relocation(100, 6, 0, 4))
    area = type(old)(**fields).pack()
    (tmp_path / "image.ndz").write_bytes(area + chunk[4096:])
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(12 << 20))
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,20480,83\n")
    programs.unzip("-s1", tmp_path / "image.ndz", disk)
    assert "Ignoring unknown relocation type 100" in capsys.readouterr().err
    at = (2048 + 5) * 512 + 7
    assert disk.read_bytes()[at : at + 5] == bytes([0, 8, 0, 0, 0])
