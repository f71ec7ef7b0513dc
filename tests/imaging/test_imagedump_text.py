"""What imagedump prints of odd images, in the words of the original where they are known."""

import os
from pathlib import Path

import pytest
from made import chunk, security


@pytest.fixture
def dumped(programs, tmp_path, capsys):
    """Dump an image of these bytes; return what is printed on the two outputs."""

    def dump(data, *options):
        path = tmp_path / "image.ndz"
        path.write_bytes(data)
        programs.dump(*options, path)
        said = capsys.readouterr()
        return said.out.replace(f"{path}: ", "").splitlines(), said.err

    return dump


def test_sizes_have_a_class_up_to_8k(dumped):
    # 3.5, 4, 7.5 and 8 KiB
    out, _ = dumped(chunk(regions=((0, 7), (10, 8), (20, 15), (40, 16))))
    assert out[out.index("  size distribution:") + 1 :] == [
        "    <    4k bytes:      1 25.0% 25.0%",
        "    <    8k bytes:      2 50.0% 75.0%",
        "    <   16k bytes:      1 25.0% 100.0%",
    ]


def test_a_signed_image_has_the_checksum_of_each_chunk(dumped):
    signed = [
        security(checksum_type=0x8001, checksum=bytes(range(at, at + 64)), uuid=b"u" * 16)
        for at in (0, 100)
    ]
    data = b"".join(chunk(n, ((n, 1),), version=4, security=s) for n, s in enumerate(signed))
    out, _ = dumped(data, "-d")
    assert out[0] == "2097152 bytes, 2 chunks, version 4, signed csum (0x8001)"
    assert [line for line in out if "Checksum" in line] == [
        f"    Checksum: 0x{bytes(range(at, at + 64)).hex()}" for at in (0, 100)
    ]
    assert not any("Checksum" in line for line in dumped(data)[0])


def test_an_encrypted_image_has_its_initial_vector(dumped):
    locked = security(cipher=1, iv=b"\x01\x23\x45\x67\x89\xab\xcd\xef")
    out, _ = dumped(chunk(version=4, security=locked), "-d")
    assert out[0].endswith(", version 4, encrypted (1)")
    assert "    CipherIV: 0x0123456789abcdef" in out
    assert not any("Checksum" in line for line in out)


@pytest.mark.parametrize(
    ("sectors", "warning"),
    [
        ((8,), ""),
        ((15,), ""),
        ((16,), "chunk 0: relocation at sector 16: outside of its sector range [8-15]"),
        ((7, 9, 4000), "chunk 0: relocation at sector 7, and 1 more: outside of its sector range"),
    ],
)
def test_relocations_outside_of_their_chunk_are_warned_of(dumped, sectors, warning):
    strays = [(3, sector, 0, 5) for sector in sectors]
    _, err = dumped(chunk(regions=((8, 8),), relocations=strays))
    assert (warning in err) if warning else err == ""


def test_version_4_has_no_map(dumped):
    ranges = ((0, 2), (4, 2))
    with_map, _ = dumped(chunk(regions=ranges), "-m")
    assert with_map[1:4] == [
        "A: [00000000-00000001]",
        "F: [00000002-00000003]",
        "A: [00000004-00000005]",
    ]
    assert dumped(chunk(regions=ranges, version=4), "-m") == dumped(
        chunk(regions=ranges, version=4)
    )


def test_version_1_covers_nothing_that_is_known(dumped):
    out, _ = dumped(chunk(regions=((2, 2), (8, 1)), version=1, total=1), "-d")
    assert out[1] == next(line for line in out if line.startswith("  Chunk 0: "))
    assert out[1].endswith(" compressed bytes, 2 regions")
    assert "  covered sector range: [4294967295-0]" in out
    assert any("compression of total known disk size (3584 bytes)" in line for line in out)


def test_the_golden_texts(programs, capsys, monkeypatch):
    if "RHUBARBE_GOLDEN" not in os.environ:
        pytest.skip("RHUBARBE_GOLDEN does not name the directory of all the golden images")
    monkeypatch.chdir(Path(os.environ["RHUBARBE_GOLDEN"]) / "ndz")
    images = sorted(Path().glob("*.ndz"))
    assert images
    for text in (image.with_suffix(".dump.txt") for image in images):
        for part in text.read_text().split("$ imagedump ")[1:]:
            command, *lines = part.splitlines()
            programs.dump(*command.split())
            told = capsys.readouterr().out.splitlines()
            assert told == lines[: len(told)], command
            assert lines[len(told)].startswith("--- ")
