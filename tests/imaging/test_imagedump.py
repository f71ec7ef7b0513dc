"""What imagedump says of good and of bad images."""

import json
import subprocess
import sys

import pytest

CODE = "import sys; from rhubarbe.imaging.imagedump import main; sys.exit(main())"


@pytest.fixture
def image(small_image, tmp_path):
    def write(name):
        path = tmp_path / f"{name}.ndz"
        path.write_bytes(small_image(name))
        return path

    return write


def test_the_text_is_the_original_s(image, programs, capsys):
    path = image("d8-l")
    programs.dump("-d", "-d", path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: 1048576 bytes, 1 chunks, version 3"
    assert lines[1].startswith("  Chunk 0: 3765 compressed bytes, sector range [0-32767], ")
    assert "  covered sector range: [0-32767]" in lines
    assert "  3765 bytes of compressed data" in lines


def test_a_short_last_sector(image, programs, capsys):
    programs.dump("-dd", image("d7-file"))
    out = capsys.readouterr().out
    assert "  Chunk 0: 299125 compressed bytes, sector range [0-2929], 1 relocs, 1 regions" in out
    assert "    Reloc 0: SHORTSECTOR sector 2929, offset 0-353" in out
    assert "  1 relocations covering 353 bytes" in out


def test_json(image, programs, capsys):
    programs.dump("--json", image("d2-s3"))
    facts = json.loads(capsys.readouterr().out)
    assert facts["version"] == 3
    assert facts["chunks"][0]["regions"] == [[0, 64]]


def test_check_counts_the_bad_ones_and_names_their_chunks(image, programs, tmp_path, capsys):
    good, bad = image("d8-l"), image("d7-file")
    data = bytearray(bad.read_bytes())
    data[4096 + 70000] ^= 1
    bad.write_bytes(data)
    junk = tmp_path / "junk"
    junk.write_bytes(b"x" * (1 << 20))
    programs.dump("--check", good, bad, junk, status=2)
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{good}: good: 1048576 bytes, 1 chunks, not sealed")
    assert f"{bad}: chunk 0: in" in captured.err
    assert f"{junk}: not an ndz image: bad magic 0x78787878" in captured.err


@pytest.mark.parametrize(("cut", "status"), [(0, 0), (1, 1)])
def test_check_of_a_stream(small_image, cut, status):
    data = small_image("d8-l")
    done = subprocess.run(
        [sys.executable, "-c", CODE, "--check", "-"], input=data[: len(data) - cut],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert (b"standard input: chunk 0: cut short" in done.stderr) == bool(cut)


def test_quiet(image, programs, tmp_path, capsys):
    programs.dump("-q", image("d4-raw"))
    junk = tmp_path / "junk"
    junk.write_bytes(b"x" * (1 << 20))
    programs.dump("-q", junk, status=1)
    assert capsys.readouterr() == ("", "")


def test_not_an_image(programs, tmp_path, capsys):
    junk = tmp_path / "junk"
    junk.write_bytes(b"x" * (1 << 20))
    programs.dump(junk, tmp_path / "none", status=2)
    assert capsys.readouterr().err.splitlines() == [
        f"{junk}: bad version 78787878",
        f"{tmp_path}/none: No such file or directory",
    ]
