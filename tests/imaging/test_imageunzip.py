"""Golden images restored to files, with -z, to pipes and onto old disks; damage and refusals."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RESULTS = json.loads((Path(__file__).parents[1] / "data/ndz/results.json").read_text())
SMALL = ["d2-s3", "d4-raw", "d7-file", "d8-l"]
SIZES = {
    "d1": 33554432,
    "d2": 67108864,
    "d3": 3145728,
    "d4": 8388608,
    "d7": 1500160,
    "d8": 16777216,
}
CODE = "import sys; from rhubarbe.imaging.imageunzip import main; sys.exit(main())"


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def image(small_image, tmp_path):
    """Return the path of a golden image; skip those that are not in the repository."""

    def find(name):
        if name in SMALL:
            path = tmp_path / f"{name}.ndz"
            path.write_bytes(small_image(name))
            return path
        if "RHUBARBE_GOLDEN" not in os.environ:
            pytest.skip("RHUBARBE_GOLDEN does not name the directory of all the golden images")
        return Path(os.environ["RHUBARBE_GOLDEN"]) / "ndz" / f"{name}.ndz"

    return find


def names():
    return [name for name, facts in RESULTS.items() if facts["chunks"]]


@pytest.mark.parametrize("name", names())
def test_golden_images_have_their_hashes(name, image, programs, tools, tmp_path):
    facts, out = RESULTS[name], tmp_path / "out.img"
    programs.unzip("-o", image(name), out)
    assert digest(out.read_bytes()) == facts["unzip_file_sha256"]
    programs.unzip("-z", image(name), out)
    assert digest(out.read_bytes()) == facts["unzip_z_sha256"]
    piped = subprocess.run(
        [sys.executable, "-c", CODE, image(name), "-"], capture_output=True, check=True
    )
    assert digest(piped.stdout) == facts["unzip_stdout_sha256"]
    assert b"not seekable, must zero-fill" in piped.stderr
    tools.junk(out, SIZES[name[:2]])
    programs.unzip("--as-device", "--verify", image(name), out)
    assert digest(out.read_bytes()) == facts["unzip_blkdev_sha256"]


def test_a_fresh_file_stays_sparse(image, programs, tmp_path):
    out = tmp_path / "out.img"
    programs.unzip("-z", image("d8-l"), out)
    assert out.stat().st_size == SIZES["d8"]
    assert out.stat().st_blocks * 512 < 3 << 20


def test_free_space_of_an_old_disk_becomes_zero_with_z(image, programs, tools, tmp_path):
    out = tools.junk(tmp_path / "out.img", SIZES["d8"] + (1 << 20))
    programs.unzip("-z", "--as-device", image("d8-l"), out)
    data = out.read_bytes()
    assert digest(data[: SIZES["d8"]]) == RESULTS["d8-l"]["unzip_z_sha256"]
    assert data[SIZES["d8"] :] == bytes(1 << 20)


def test_the_closing_lines(image, programs, capsys, tmp_path):
    programs.unzip("-o", image("d4-raw"), tmp_path / "out.img")
    assert capsys.readouterr().err == "." + " " * 66 + "   0      0\n"
    programs.unzip(image("d8-l"), tmp_path / "out.img")
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("Decompressed 2249728 bytes, wrote 16777216 bytes (2249728 actual) in ")


def test_from_a_pipe_and_combined_options(image, tmp_path):
    out = tmp_path / "out.img"
    done = subprocess.run(
        [sys.executable, "-c", CODE, "-zoW64", "-", out],
        input=image("d8-l").read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert digest(out.read_bytes()) == RESULTS["d8-l"]["unzip_z_sha256"]


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    image, programs, tools, tmp_path, capsys
):
    out = tools.junk(tmp_path / "small.img", 1 << 20)
    programs.unzip("--as-device", image("d4-raw"), out, status=1)
    assert "write error: No space left on device" in capsys.readouterr().err
    assert out.read_bytes() == b"\xaa" * (1 << 20)


def test_from_a_stream_too_small_is_found_when_it_happens(image, tools, tmp_path):
    out = tools.junk(tmp_path / "small.img", 1 << 20)
    done = subprocess.run(
        [sys.executable, "-c", CODE, "--as-device", "-", out],
        input=image("d4-raw").read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"small.img: write error: No space left on device" in done.stderr
    assert out.read_bytes() == b"\xaa" * (1 << 20)  # the chunk reaches beyond the end


@pytest.mark.parametrize("cut", [1, 5000, (1 << 20) - 1])
def test_a_truncated_image_is_refused(image, programs, tmp_path, capsys, cut):
    path = image("d7-file")
    path.write_bytes(path.read_bytes()[:cut])
    programs.unzip(path, tmp_path / "out.img", status=1)
    assert f"chunk 0: cut short, {cut} bytes" in capsys.readouterr().err


def test_a_damaged_chunk_is_named(image, programs, tmp_path, capsys):
    path = image("d7-file")
    data = bytearray(path.read_bytes())
    data[99999] ^= 4
    path.write_bytes(data)
    programs.unzip(path, tmp_path / "out.img", status=1)
    assert "chunk 0: in" in capsys.readouterr().err


def test_a_sealed_image_that_lacks_its_last_chunk_is_no_success(programs, tools, tmp_path, capsys):
    disk = tmp_path / "disk.img"
    disk.write_bytes(tools.noise(3 << 20))
    path = tmp_path / "image.ndz"
    programs.zip("-r", disk, path)
    path.write_bytes(path.read_bytes()[: 2 << 20])
    programs.unzip(path, tmp_path / "out.img", status=1)
    assert "chunk 2: missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{none}", "{out}"], "none.ndz: No such file or directory"),
        (["{junk}", "{out}"], "not an ndz image: bad magic 0xaaaaaaaa"),
        (["{good}", "{missing}/out"], "cannot open output: No such file or directory"),
        ([], "an image and an output are needed"),
        (["-Q", "{good}"], "option -Q not recognized"),
        (["-W", "many", "{good}", "{out}"], "--memory: 'many' is not a number"),
        (["-s", "1", "{good}", "{junk}"], "No GPT or MBR partition table found"),
    ],
)
def test_one_line_says_what_is_wrong(  # noqa: PLR0917
    arguments, words, image, tools, programs, tmp_path, capsys
):
    places = {
        "none": tmp_path / "none.ndz",
        "junk": tools.junk(tmp_path / "junk", 1 << 20),
        "good": image("d4-raw"),
        "out": tmp_path / "out.img",
        "missing": tmp_path / "missing",
    }
    programs.unzip(*[argument.format(**places) for argument in arguments], status=1)
    assert words in capsys.readouterr().err.splitlines()[0]


def test_help_and_version(programs, capsys):
    programs.unzip("--help")
    assert "--as-device" in capsys.readouterr().out
    programs.unzip("--version")
    assert capsys.readouterr().out.startswith("rhubarbe-imageunzip ")


def test_a_slice_is_restored_into_its_place(image, programs, tools, tmp_path):
    tools.need("sfdisk")
    disk = tools.junk(tmp_path / "disk.img", 40 << 20)
    disk.write_bytes(bytes(512) + disk.read_bytes()[512:])
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,32768,83\n40000,,83\n")
    before = disk.read_bytes()
    programs.unzip("-s", "1", "-z", image("d8-l"), disk)
    after = disk.read_bytes()
    start = 2048 * 512
    assert digest(after[start : start + SIZES["d8"]]) == RESULTS["d8-l"]["unzip_z_sha256"]
    assert after[:start] + after[start + SIZES["d8"] :] == (
        before[:start] + before[start + SIZES["d8"] :]
    )


def test_z_clears_what_the_image_covers_of_a_larger_slice(image, programs, tools, tmp_path):
    """An image of 16,384 sectors, the first 64 of which are data, in a slice of 20,480."""
    tools.need("sfdisk")
    disk = tools.junk(tmp_path / "disk.img", 12 << 20)
    disk.write_bytes(bytes(512) + disk.read_bytes()[512:])
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,20480,83\n")
    before = disk.read_bytes()
    programs.unzip("-z", "-s1", "--verify", image("d2-s3"), disk)
    after, start, end = disk.read_bytes(), 2048 * 512, (2048 + 16384) * 512
    assert digest(after[start:end]) == RESULTS["d2-s3"]["unzip_z_sha256"]
    assert after[:start] + after[end:] == before[:start] + before[end:]


def test_an_image_too_large_for_its_slice_is_truncated(image, programs, tools, tmp_path, capsys):
    tools.need("sfdisk")
    disk = tools.junk(tmp_path / "disk.img", 8 << 20)
    disk.write_bytes(bytes(512) + disk.read_bytes()[512:])
    tools.run("sfdisk", "-q", disk, input="label: dos\n2048,4096,83\n")
    before = disk.read_bytes()
    programs.unzip("-s1", image("d4-raw"), disk)
    assert "WARNING: image too large for target slice, truncating" in capsys.readouterr().err
    zeros = bytes(4096 * 512)
    after = disk.read_bytes()
    assert after == before[: 2048 * 512] + zeros + before[6144 * 512 :]
