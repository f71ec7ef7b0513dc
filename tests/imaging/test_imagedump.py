"""What imagedump says of good and of bad images."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

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


@contextlib.contextmanager
def fed(fifo, data):
    """Have somebody write into a FIFO, once."""
    os.mkfifo(fifo)
    writer = subprocess.Popen(["dd", "bs=64k", "status=none", f"of={fifo}"], stdin=subprocess.PIPE)
    sender = threading.Thread(target=writer.communicate, args=(data,))
    sender.start()
    try:
        yield fifo
    finally:
        writer.kill()
        sender.join()


@pytest.mark.parametrize("options", [[], ["-q"], ["-d"], ["--json"], ["--check"], ["--manifest"]])
def test_a_fifo_is_read_once_and_whole(image, small_image, tmp_path, options):
    known = [str(tmp_path / "known")] if options == ["--manifest"] else []
    got = [str(tmp_path / "got")] if known else []
    path = image("d8-l")
    line = [sys.executable, "-c", CODE, *options]
    right = subprocess.run([*line, *known, path], capture_output=True, text=True, check=False)
    with fed(tmp_path / "fifo", small_image("d8-l")) as fifo:
        done = subprocess.run(
            [*line, *got, fifo], capture_output=True, text=True, check=False, timeout=30
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace(str(fifo), str(path)) == right.stdout
    assert not got or (tmp_path / "got").read_bytes() == (tmp_path / "known").read_bytes()


@pytest.mark.parametrize("options", [[], ["-q"], ["--check"], ["--json"]])
def test_an_empty_stream_is_no_image(options):
    line = [sys.executable, "-c", CODE, *options, "-"]
    done = subprocess.run(line, input=b"", capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)
    assert ("-q" in options) == (done.stderr == b"")


@pytest.mark.parametrize("before", [1, 512, 1 << 20])
def test_a_stream_is_read_from_where_it_stands(small_image, tmp_path, before):
    (tmp_path / "both").write_bytes(bytes(before) + small_image("d4-raw"))
    with (tmp_path / "both").open("rb") as both:
        both.seek(before)
        line = [sys.executable, "-c", CODE, "-"]
        done = subprocess.run(line, stdin=both, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"-: {len(small_image('d4-raw'))} bytes, ")


@pytest.mark.parametrize(
    "options",
    [["--check", "-d"], ["--manifest", "made", "-m"], ["--manifest", "made", "-dd"], ["--blake2b"]],
)
def test_what_would_do_nothing_is_refused(image, programs, tmp_path, monkeypatch, options, capsys):
    monkeypatch.chdir(tmp_path)
    programs.dump(*options, image("d8-l"), status=1)
    assert capsys.readouterr().err.startswith("imagedump: --")
    assert not (tmp_path / "made").exists()


def test_a_manifest_goes_with_json_and_quiet(image, programs, tmp_path, capsys):
    path = image("d8-l")
    programs.dump("--manifest", tmp_path / "made", path)
    digest = capsys.readouterr().out.strip()
    programs.dump("--manifest", tmp_path / "made", "--json", path)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["good"], facts["manifest_digest"]) == (True, digest)
    (tmp_path / "made").unlink()
    programs.dump("--manifest", tmp_path / "made", "-q", path)
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("place", ["-", "/dev/stdout"])
def test_a_manifest_goes_to_the_standard_output_and_its_digest_elsewhere(image, tmp_path, place):
    path, line = image("d8-l"), [sys.executable, "-c", CODE, "--manifest"]
    told = subprocess.run([*line, tmp_path / "made", path], capture_output=True, check=True).stdout
    with (tmp_path / "out").open("wb") as out:
        out.write(b"before")
        out.flush()
        done = subprocess.run([*line, place, path], stdout=out, stderr=subprocess.PIPE, check=True)
    assert done.stderr == told
    assert (tmp_path / "out").read_bytes() == b"before" + (tmp_path / "made").read_bytes()


@pytest.mark.full
def test_an_image_on_a_disk_is_checked(loop, image, programs, tools, tmp_path, capsys):
    path, disk = image("d8-l"), tools.junk(tmp_path / "disk.img", 1 << 20)
    disk.write_bytes(path.read_bytes())
    programs.dump("--check", loop(disk))
    assert "good: 1048576 bytes" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["imagezip", "imageunzip", "imagedump"])
def test_help_calls_the_program_as_it_was_called(tmp_path, name):
    program = Path(__file__).parents[2] / "bin" / f"rhubarbe-{name}"
    (tmp_path / name).symlink_to(program)
    for called in (program, tmp_path / name):
        told = subprocess.check_output([sys.executable, called, "--help"], text=True)
        assert told.startswith(f"usage: {called.name} [options] ")
        assert f"\nexample: {called.name} " in told


def test_a_reader_that_has_had_enough_is_no_fault_of_the_image(image):
    path = image("d8-l")
    with subprocess.Popen(
        [sys.executable, "-c", CODE, "--json", *[path] * 2000],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as told:
        assert told.stdout.readline()
        told.stdout.close()
        assert told.stderr.read() == b""
        assert told.wait(60) == 1
