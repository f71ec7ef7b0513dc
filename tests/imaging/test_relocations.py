"""Labels and addresses become true for the slice that they are restored to."""

import random
import struct
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.imaging.relocations import NO_SLICE, Slice, relocated, unknown_kinds
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


@pytest.mark.parametrize(
    ("address", "start", "expected"),
    [
        ("01 00 80 00 07", 0x3F, "40 00 80 00 07"),
        ("ff ff c0 00 01", 1, "00 00 c0 01 01"),  # linear: 24 bits, and a count
        ("ff ff c0 ff 09", 1, "00 00 c0 00 09"),
        ("ff ff d0 ff 09", 1, "00 00 d0 00 09"),  # 0x10 beside 0x40 is no flag of the address
        ("01 02 60 03 04", 2, "03 02 60 03 04"),
        ("ff ff e0 ff 00", 1, "00 00 e0 00 01"),  # LBA32 of LILO 22: 32 bits
        ("ff ff e0 ff 12", 0x100, "ff 00 e0 00 13"),
        ("c1 ff e0 ff ff", 0x3F, "00 00 e0 00 00"),
        ("ff ff f0 ff 00", 1, "00 00 f0 00 01"),
        ("ff ff b0 ff 00", 1, "00 00 b0 00 01"),  # LBA32 of LILO 21: 32 bits
        ("ff ff 90 ff 00", 1, "00 00 90 00 01"),
        ("ff ff a0 ff 05", 1, "00 00 a0 00 05"),  # LBA32 with a count
    ],
)
def test_a_lilo_address_byte_for_byte(address, start, expected):
    data = bytearray(6 * 512)
    data[1024 + 7 : 1024 + 12] = bytes.fromhex(address)
    relocate(data, header(Relocation(3, 10, 7, 5)), start, None)
    assert data[1024 + 7 : 1024 + 12].hex(" ") == expected
    assert not any(data[: 1024 + 7] + data[1024 + 12 :])


def test_a_lilo_map_ends_with_a_zero_entry():
    data = bytearray(6 * 512)
    data[3 * 512 : 3 * 512 + 16] = bytes.fromhex("0102600304 ffffe00005 0000000000 01")
    relocate(data, header(Relocation(4, 11, 0, 512)), 2, None)
    expected = bytes.fromhex("0302600304 0100e00105 0000000000 01")
    assert data[3 * 512 : 3 * 512 + 16] == expected
    full = bytearray(3 * 512) + bytes.fromhex("0100400001") * 102 + bytes(2 + 1024)
    relocate(full, header(Relocation(4, 11, 0, 512)), 2, None)
    assert full[3 * 512 : 4 * 512] == bytes.fromhex("0300400001") * 102 + bytes(2)


@pytest.mark.parametrize("at", [0, 988, 990])
def test_the_checksum_of_lilo_s_table_is_put_at_its_place(at):
    data = bytearray(range(256)) * 12
    before = bytes(data)
    sector, offset = divmod(at, 512)
    # An address in the middle of the table, across the sectors, which counts in it.
    relocations = Relocation(3, 10, 509, 5), Relocation(5, 10 + sector, offset, 2)
    relocate(data, header(*relocations), 2, None)
    assert xor(data[1024:2048]) == 0xABCD
    changed = {n for n in range(len(data)) if data[n] != before[n]}
    assert changed == {1024 + 509, 1024 + at, 1024 + at + 1}


def test_what_is_no_slice_gets_its_checksum_and_its_label_stays():
    data = bytearray(512) + label([(50, 7)]) + bytearray(range(256)) * 8
    before = bytes(data)
    about = header(Relocation(1, 1, 0, 276), Relocation(3, 10, 9, 5), Relocation(5, 10, 0, 2))
    pieces = (bytes(data[at : at + 100]) for at in range(0, len(data), 100))
    after = b"".join(relocated(pieces, about, NO_SLICE))
    assert xor(after[1024:2048]) == 0xABCD
    assert after[:1024] + after[1026:] == before[:1024] + before[1026:]


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


@pytest.fixture
def relocating(small_image, tmp_path):
    """An image of 16,384 sectors of zeros with relocations, and one of a kind that is not known."""
    chunk = small_image("d4-raw")
    old = parse_header(chunk, 0)
    fields = {name: getattr(old, name) for name in old.__slots__}
    fields["relocations"] = (
        Relocation(3, 5, 7, 5), Relocation(5, 10, 0, 2), Relocation(100, 6, 0, 4)
    )  # fmt: skip
    image = tmp_path / "image.ndz"
    image.write_bytes(type(old)(**fields).pack() + chunk[4096:])
    return image


def test_a_restored_slice_is_relocated_and_unknown_kinds_are_told(
    relocating, programs, tools, tmp_path, capsys
):
    tools.need("sfdisk")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(12 << 20))
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,20480,83\n")
    programs.unzip("-s1", "--verify", relocating, disk)
    assert "Ignoring unknown relocation type 100" in capsys.readouterr().err
    at = (2048 + 5) * 512 + 7
    assert disk.read_bytes()[at : at + 5] == bytes([0, 8, 0, 0, 0])


def test_a_restored_file_and_a_pipe_are_relocated_too(relocating, programs, tmp_path, capfdbinary):
    expected = bytearray(8 << 20)
    expected[10 * 512 : 10 * 512 + 2] = b"\xcd\xab"
    programs.unzip("--verify", relocating, tmp_path / "file")
    programs.unzip("--as-device", "--verify", relocating, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == expected
    assert capfdbinary.readouterr().err.count(b"Ignoring unknown relocation type 100") == 2
    command = [sys.executable, "-c", UNZIP, relocating]
    assert subprocess.run(command, capture_output=True, check=True).stdout == expected


UNZIP = "import sys; from rhubarbe.imaging.imageunzip import main; sys.exit(main())"
