"""A restore to the standard output, as to a filter: from where that stands, and nothing else."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(__file__).parents[2] / "bin"
UNZIP = "import sys; from rhubarbe.imaging.imageunzip import main; sys.exit(main())"
ZIP = "import sys; from rhubarbe.imaging.imagezip import main; sys.exit(main())"
MIB = 1 << 20


@pytest.fixture
def image(small_image, tmp_path):
    path = tmp_path / "image.ndz"
    path.write_bytes(small_image("d8-l"))
    return path


@pytest.fixture
def right(image, programs, tmp_path):
    """What the image is restored to, as a file."""
    programs.unzip(image, tmp_path / "right")
    return (tmp_path / "right").read_bytes()


def run(script, *arguments):
    """Run a script of the shell, in which $UNZIP and $ZIP are the programs."""
    programs = {name: f"{sys.executable} -c '{code}'" for name, code in PROGRAMS.items()}
    return subprocess.run(
        ["sh", "-c", script, "sh", *map(str, arguments)],
        env=os.environ | programs,
        capture_output=True,
        text=True,
        check=False,
    )


PROGRAMS = {"UNZIP": UNZIP, "ZIP": ZIP}
CALL = "unzip() { eval $UNZIP '\"$@\"'; }; "


@pytest.mark.parametrize(
    ("place", "options", "before"),
    [
        ("-", "", "hello"),
        ("", "-z", "12345678" * 1000),
        ("/dev/stdout", "-f", "12345678" * 512),
        ("/dev/fd/1", "--verify", "a"),
    ],
)
def test_it_begins_behind_what_was_written_and_others_go_on_behind_it(
    image, right, tmp_path, place, options, before
):
    script = CALL + f"(printf %s {before}; unzip {options} $1 {place}; printf tail) > $2"
    done = run(script, image, tmp_path / "out")
    assert "imageunzip:" not in done.stderr
    got = (tmp_path / "out").read_bytes()
    assert got.startswith(before.encode())
    assert got.endswith(b"tail")
    got = got[len(before) : -4]
    assert got[: len(right)] == right
    assert not got[len(right) :].strip(b"\0")


@pytest.mark.parametrize("before", [b"", b"x" * 5, b"y" * 70000])
def test_it_is_appended(image, right, tmp_path, before):
    (tmp_path / "out").write_bytes(before)
    done = run(CALL + "unzip --verify $1 - >> $2", image, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    got = (tmp_path / "out").read_bytes()
    assert got[: len(before)] == before
    assert got[len(before) :][: len(right)] == right
    assert not got[len(before) + len(right) :].strip(b"\0")


@pytest.mark.parametrize("options", ["", "-z", "--verify"])
def test_what_was_there_is_written_over_and_shines_through_nowhere(
    image, right, tools, tmp_path, options
):
    out = tools.junk(tmp_path / "out", 32 * MIB)
    done = run(CALL + f"(printf 12345; unzip {options} $1) 1<> $2", image, out)
    assert done.returncode == 0, done.stderr
    got = out.read_bytes()
    assert got[:5] == b"12345"
    assert got[5:][: len(right)] == right
    end = len(got) - len(got[5 + len(right) :].lstrip(b"\0"))
    assert not got[end:].strip(b"\xaa")


def test_a_file_stays_sparse(image, right, tmp_path):
    done = run(CALL + "(printf hello; unzip $1) > $2", image, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    status = (tmp_path / "out").stat()
    assert status.st_blocks * 512 < len(right) - len(right) // 4


@pytest.mark.parametrize("redirected", ["1<> $2", ">> $2"])
def test_a_disk_is_not_written_from_its_middle_on(image, tools, tmp_path, redirected):
    disk = tools.junk(tmp_path / "disk", 32 * MIB)
    script = CALL + f"(printf 1234 >&1; unzip --as-device $1) {redirected}"
    done = run(script, image, disk)
    assert done.returncode == 1
    assert done.stderr.startswith("imageunzip: -: a disk is written from its start, not ")
    assert disk.read_bytes().replace(b"1234", b"").strip(b"\xaa") == b""


def test_a_disk_on_the_standard_output_keeps_the_rest(image, programs, tools, tmp_path):
    disk, other = (tools.junk(tmp_path / name, 32 * MIB) for name in ("disk", "other"))
    programs.unzip("--as-device", image, other)
    done = run(CALL + "unzip --as-device --verify $1 1<> $2", image, disk)
    assert done.returncode == 0, done.stderr
    assert disk.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("before", ["1", "4096"])
def test_an_image_is_read_from_where_the_standard_input_stands(image, right, tmp_path, before):
    both = tmp_path / "both"
    both.write_bytes(bytes(int(before)) + image.read_bytes())
    script = CALL + f"(dd bs=1 count={before} status=none of=/dev/null; unzip - $2; wc -c) < $1"
    done = run(script, both, tmp_path / "out")
    assert done.stdout.strip() == "0", done.stderr
    assert (tmp_path / "out").read_bytes() == right


def test_but_a_disk_from_its_start_only(tools, tmp_path):
    disk = tools.junk(tmp_path / "disk", 4 * MIB)
    script = "(dd bs=512 count=1 status=none of=/dev/null; eval $ZIP -r - '$2') < $1"
    done = run(script, disk, tmp_path / "made.ndz")
    assert done.returncode == 1
    assert "a disk is read from its start, not from byte 512 on" in done.stderr
    assert not (tmp_path / "made.ndz").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["imageunzip", "image.ndz", "-"],
        ["imageunzip", "image.ndz"],
        ["imagezip", "-r", "image.ndz", "-"],
        ["imagedump", "--manifest", "-", "image.ndz"],
    ],
)
def test_an_output_that_is_closed_takes_nothing(image, words):
    line = [sys.executable, str(BIN / f"rhubarbe-{words[0]}"), *words[1:]]
    script = f"cd '{image.parent}' && " + shlex.join(line)
    for redirected, status in ((">&-", 1), ("> /dev/null", 0)):
        done = run(f"{script} {redirected}")
        assert done.returncode == status, done.stderr
        assert (status == 1) == (done.stderr == f"{words[0]}: the standard output is closed\n")


@pytest.mark.parametrize("redirected", ["2> /dev/full", "2>&1 | head -c 1 > /dev/null"])
@pytest.mark.parametrize("options", ["", "-o", "-O", "--verify"])
def test_words_that_cannot_be_written_leave_no_disk_half_written(
    tools, programs, tmp_path, options, redirected
):
    disk, image, out = (tmp_path / name for name in ("disk", "image.ndz", "out"))
    tools.noisy(disk, 24 * MIB)
    programs.zip("-r", disk, image)
    line = f"{sys.executable} {BIN / 'rhubarbe-imageunzip'} -W 8 {options} '{image}' '{out}'"
    done = run(f"({line}; echo $? > '{tmp_path}/status') {redirected}")
    assert done.stderr == ""
    assert (tmp_path / "status").read_text() == "0\n"
    assert out.read_bytes() == disk.read_bytes()
