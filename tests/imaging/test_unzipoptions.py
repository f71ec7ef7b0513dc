"""Options of imageunzip and imagedump that scripts for the original use: done, or refused."""

import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "import sys; from rhubarbe.imaging.imageunzip import main; sys.exit(main())"
SIZE = 16 << 20
PATTERN = struct.pack("<I", 0xDEADBEEF)


@pytest.fixture
def image(small_image, tmp_path):
    """A filesystem of 16 MiB, of which the original imagezip stored 2,249,728 bytes."""
    path = tmp_path / "d8-l.ndz"
    path.write_bytes(small_image("d8-l"))
    return path


@pytest.fixture
def zeroed(image, programs, tmp_path):
    out = tmp_path / "zeroed.img"
    programs.unzip("-z", image, out)
    return out.read_bytes()


@pytest.fixture
def noise(programs, tools, tmp_path):
    """An image of five chunks, and the disk that it is of."""
    disk, made = tmp_path / "noise.img", tmp_path / "noise.ndz"
    disk.write_bytes(tools.noise(4 << 20))
    programs.zip("-r", disk, made)
    return made, disk.read_bytes()


def piped(*words, stdin=None):
    command = [sys.executable, "-c", CODE, *map(str, words)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def data_of(image, disk, tools):
    """The sectors of a disk that are in an image, one behind the other."""
    return b"".join(
        disk[region.start * 512 : region.end * 512]
        for header in tools.headers(image)
        for region in header.regions
    )


def filled(image, disk, tools):
    """A disk whose sectors that are not in the image hold the pattern."""
    made = bytearray(PATTERN * (len(disk) // 4))
    for header in tools.headers(image):
        for region in header.regions:
            place = slice(region.start * 512, region.end * 512)
            made[place] = disk[place]
    return bytes(made)


@pytest.mark.parametrize("options", [["-c"], ["-C"], ["-M", "99"], ["-E"], ["-e"], ["-k", "key"]])
def test_imageunzip_refuses_in_one_line_what_it_does_not_do(
    options, image, programs, capsys, tmp_path
):
    programs.unzip(*options, image, tmp_path / "out.img", status=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"imageunzip: option {options[0]}: ")
    assert not (tmp_path / "out.img").exists()


@pytest.mark.parametrize("letter", "CHekE")
def test_imagedump_refuses_in_one_line_what_it_does_not_do(letter, image, programs, capsys):
    programs.dump(f"-{letter}", image, status=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"imagedump: option -{letter}: ")


def test_free_space_holds_the_pattern(image, zeroed, programs, tools, tmp_path):
    wanted = filled(image, zeroed, tools)
    assert wanted[-512:] == PATTERN * 128
    out = tmp_path / "out.img"
    programs.unzip("-p", "0xdeadbeef", image, out)
    assert out.read_bytes() == wanted
    assert piped("-p", "3735928559", image).stdout == wanted
    tools.junk(out, SIZE + (1 << 20))
    programs.unzip("-p0xdeadbeef", "--as-device", "--verify", image, out)
    assert out.read_bytes() == wanted + PATTERN * (1 << 18)


def test_a_pattern_of_zeros_is_z(image, zeroed, programs, tmp_path):
    out = tmp_path / "out.img"
    programs.unzip("-p", "0", image, out)
    assert out.read_bytes() == zeroed
    assert out.stat().st_blocks * 512 < 3 << 20


def test_a_pattern_has_32_bits(image, programs, tmp_path, capsys):
    programs.unzip("-p", "0x100000000", image, tmp_path / "out.img", status=1)
    assert "--pattern: 4294967296 is not between 0 and 4294967295" in capsys.readouterr().err


def test_i_leaves_out_the_free_space(image, zeroed, tools, tmp_path):
    data = data_of(image, zeroed, tools)
    done = piped("-I", image)
    assert (done.returncode, done.stdout) == (0, data)
    assert b"WARNING" not in done.stderr
    assert piped("-I", "-", "-", stdin=image.read_bytes()).stdout == data
    with (tmp_path / "out").open("wb") as out:
        command = [sys.executable, "-c", CODE, "-I", image]
        subprocess.run(command, stdout=out, stderr=subprocess.DEVNULL, check=True)
    assert (tmp_path / "out").read_bytes() == data


def test_i_is_refused_on_a_disk(image, loop, tools, tmp_path):
    disk = tools.junk(tmp_path / "disk.img", SIZE)
    with Path(loop(disk)).open("r+b") as device:
        command = [sys.executable, "-c", CODE, "-I", image]
        done = subprocess.run(command, stdout=device, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert b"is a disk, where data has its place" in done.stderr
    assert set(disk.read_bytes()) == {0xAA}


@pytest.mark.parametrize("options", [["-I"], ["-I", "-z", "-"], ["-N", "-z"], ["-N", "--verify"]])
def test_what_contradicts_itself_is_refused(options, image, programs, tmp_path, capsys):
    options, out = [word for word in options if word != "-"], tmp_path / "out.img"
    programs.unzip(*options, image, *([out] if options[-1] != "-" else []), status=1)
    assert "imageunzip: -" in capsys.readouterr().err
    assert not out.exists()


def test_n_writes_any_file_as_it_is(image, programs, tools, tmp_path, capsys):
    out, odd = tmp_path / "out", tmp_path / "odd"
    odd.write_bytes(tools.noise(2_500_001))
    programs.unzip("-N", image, out)
    assert out.read_bytes() == image.read_bytes()
    programs.unzip("-oN", odd, out)
    assert out.read_bytes() == odd.read_bytes()
    assert capsys.readouterr().err.splitlines()[-2] == "..." + " " * 64 + "   0      0"
    done = piped("-N", "-", stdin=odd.read_bytes())
    assert (done.returncode, done.stdout) == (0, odd.read_bytes())
    assert done.stderr.startswith(b"Copied 2500001 bytes in ")


def test_n_keeps_what_is_behind_on_a_disk_and_refuses_one_that_is_too_small(
    image, programs, tools, tmp_path, capsys
):
    disk = tools.junk(tmp_path / "disk.img", 2 << 20)
    programs.unzip("-N", "--as-device", image, disk)
    assert disk.read_bytes() == image.read_bytes() + b"\xaa" * (1 << 20)
    tools.junk(disk, 512)
    programs.unzip("-N", "--as-device", image, disk, status=1)
    assert "too small, nothing was written: write error: No space" in capsys.readouterr().err
    assert disk.read_bytes() == b"\xaa" * 512


def test_f_takes_chunks_in_random_order(noise, programs, tools, tmp_path, monkeypatch):
    made, disk = noise
    orders = []

    def backwards(numbers, _count):
        orders.append(list(numbers))
        return orders[-1][::-1]

    monkeypatch.setattr("random.sample", backwards)
    out = tools.junk(tmp_path / "out.img", len(disk))
    programs.unzip("-F", "-n", "--as-device", "--verify", made, out)
    assert out.read_bytes() == disk
    assert orders == [[1, 2, 3, 4]]


def test_f_is_refused_where_chunks_have_their_order(noise, tmp_path):
    made, _ = noise
    done = piped("-F", made)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"imageunzip: -F: - takes the chunks in their order only\n"
    done = piped("-F", "-", tmp_path / "out", stdin=made.read_bytes())
    assert done.stderr == (
        b"imageunzip: -F: the chunks of standard input come in their order only\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("retries", "status"), [(2, 0), (1, 1), (0, 1)])
def test_r_asks_again_for_what_cannot_be_read(retries, status, noise, tools, tmp_path):
    """Two reads in a row fail, as strace has the kernel say."""
    tools.need("strace")
    made, disk = noise
    out = tmp_path / "out.img"
    fault = "inject=preadv,preadv2:error=EIO:when=3..4"
    command = ["strace", "-f", "-qq", "-o", tmp_path / "trace", "-P", made, "-e", fault]
    words = ["-r", str(retries), "-n", made, out]
    done = subprocess.run(
        [*command, sys.executable, "-c", CODE, *words], capture_output=True, check=False
    )
    assert (tmp_path / "trace").read_text().count("(INJECTED)") == min(retries + 1, 2)
    assert done.returncode == status, done.stderr
    if status:
        assert b"Input/output error" in done.stderr
    else:
        assert out.read_bytes() == disk


@pytest.mark.parametrize("memory", [0, 1, 7])
def test_any_memory_will_do(memory, noise, programs, tmp_path):
    made, disk = noise
    out = tmp_path / "out.img"
    programs.unzip("-W", memory, made, out)
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(disk).digest()


def test_a_pipe_has_no_slices(image):
    done = piped("-s", "1", image, "-")
    assert done.returncode == 1
    assert done.stderr.decode() == "imageunzip: -: has no slices: -s is for disks\n"


def test_a_directory_is_named(programs, tmp_path, capsys):
    programs.unzip(tmp_path, tmp_path / "out.img", status=1)
    programs.unzip("-N", tmp_path, tmp_path / "out.img", status=1)
    programs.zip(tmp_path, tmp_path / "out.ndz", status=1)
    assert capsys.readouterr().err.splitlines() == [
        f"imageunzip: {tmp_path}: is a directory",
        f"imageunzip: {tmp_path}: is a directory",
        f"imagezip: {tmp_path}: is a directory",
    ]
    assert not (tmp_path / "out.img").exists()
