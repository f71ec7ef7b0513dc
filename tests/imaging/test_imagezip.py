"""Whole disks: partition tables, gaps, slices, options, ways out."""

import os
import re
import select
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from rhubarbe.ndz.check import check_chunk, check_file
from rhubarbe.ndz.header import parse_header

MIB = 1 << 20
CODE = "import sys; from rhubarbe.imaging.imagezip import main; sys.exit(main())"


@pytest.fixture
def make_disk(tools, tmp_path):
    """Make a disk of noise with the partition table of an sfdisk script."""

    def make(mib, script, length=0):
        tools.need("sfdisk")
        disk = tmp_path / "disk.img"
        disk.write_bytes(bytes(MIB) + tools.noise((mib - 1) * MIB))
        os.truncate(disk, length or mib * MIB)
        tools.run("sfdisk", "-q", "--wipe", "never", disk, input=script)
        return disk

    return make


def stored(image):
    """The ranges of sectors that an image stores."""
    data = image.read_bytes()
    regions = []
    for place in range(len(data) // MIB):
        for region in parse_header(data[place * MIB : place * MIB + 4096], place).regions:
            if regions and regions[-1][1] == region.start:
                regions[-1] = (regions[-1][0], region.end)
            else:
                regions.append((region.start, region.end))
    return regions


def put(disk, data, sector):
    with disk.open("r+b") as file:
        file.seek(sector * 512)
        file.write(data)


def mkfs_ext(tools, disk, sector, size_kib):
    tools.need("mke2fs")
    options = ["-q", "-F", "-t", "ext4", "-b", "1024", "-E", f"nodiscard,offset={sector * 512}"]
    tools.run("mke2fs", *options, disk, f"{size_kib}k")


def mkswap(tools, disk, sector, sectors, tmp_path):
    tools.need("mkswap")
    area = tmp_path / "swap.img"
    area.write_bytes(tools.noise(sectors * 512))
    area.chmod(0o600)
    tools.run("mkswap", "-q", "-L", "label", area)
    put(disk, area.read_bytes(), sector)


def matches(disk, target, ranges):
    """Whether the target holds the disk's sectors there, and junk everywhere else."""
    source, restored = disk.read_bytes(), target.read_bytes()
    reach = 0
    for start, end in [*ranges, (len(source) // 512, 0)]:
        if restored[reach * 512 : start * 512] != b"\xaa" * (start - reach) * 512:
            return False
        if end and source[start * 512 : end * 512] != restored[start * 512 : end * 512]:
            return False
        reach = end
    return True


def test_an_mbr_with_logical_partitions(make_disk, tools, programs, tmp_path):
    disk = make_disk(48, "label: dos\n2048,8192,83\n10240,86016,5\n12288,8192,83\n22528,57344,82\n")
    mkfs_ext(tools, disk, 2048, 4096)
    mkfs_ext(tools, disk, 12288, 4096)
    mkswap(tools, disk, 22528, 57344, tmp_path)
    image = tmp_path / "image.ndz"
    programs.zip(disk, image)
    target = programs.restore_on_junk(image, disk.stat().st_size)
    ranges = stored(image)
    assert matches(disk, target, ranges)
    edges = [(22528, 22528 + 8320), (79872 - 4096, 79872 + 8320)]  # and the gap after the last one
    assert [(max(s, 22528), e) for s, e in ranges if e > 22528] == [*edges, (98304 - 4096, 98304)]
    for start in (2048, 12288):
        part = tmp_path / "part.img"
        part.write_bytes(target.read_bytes()[start * 512 : (start + 8192) * 512])
        tools.run("e2fsck", "-fn", part)


def test_a_slice_of_the_extended_partition(make_disk, tools, programs, tmp_path):
    disk = make_disk(24, "label: dos\n2048,8192,83\n10240,36864,5\n12288,8192,83\n22528,8192,82\n")
    mkfs_ext(tools, disk, 12288, 4096)
    image = tmp_path / "image.ndz"
    programs.zip("-s5", disk, image)
    target = programs.restore_on_junk(image, 8192 * 512)
    tools.run("e2fsck", "-fn", target)
    assert check_file(image).sectors == 8192


@pytest.mark.parametrize("damage", ["none", "primary"])
def test_gpt_and_its_backup(make_disk, tools, programs, tmp_path, capsys, damage):
    disk = make_disk(32, "label: gpt\n2048,8192,L\n12288,20480,S\n")
    mkfs_ext(tools, disk, 2048, 4096)
    mkswap(tools, disk, 12288, 20480, tmp_path)
    if damage == "primary":
        put(disk, b"X", 1)
    image = tmp_path / "image.ndz"
    programs.zip(disk, image)
    assert ("GPT: using backup GPT" in capsys.readouterr().err) == (damage == "primary")
    ranges = stored(image)
    assert matches(disk, programs.restore_on_junk(image, disk.stat().st_size), ranges)
    last = disk.stat().st_size // 512
    assert ranges[-1] == (last - 33 - 4096, last)
    assert not any(start < 24576 < end for start, end in ranges)


def test_both_copies_of_a_gpt_damaged_is_an_error(make_disk, programs, tmp_path, capsys):
    disk = make_disk(8, "label: gpt\n2048,4096,L\n")
    put(disk, b"X", 1)
    put(disk, b"X", disk.stat().st_size // 512 - 1)
    programs.zip(disk, tmp_path / "image.ndz", status=1)
    assert "both its copies are damaged" in capsys.readouterr().err
    assert list(tmp_path.glob("image*")) == []


def test_gaps_of_zeros_are_left_out_others_kept(make_disk, programs, tmp_path):
    script = "label: dos\n2048,2048,da\n40960,2048,da\n81920,2048,da\n86017,2048,da\n"
    disk = make_disk(64, script)
    put(disk, bytes(36864 * 512), 4096)
    put(disk, b"x" + bytes(20000 * 512), 60000)
    put(disk, bytes(2000 * 512), 79920)
    image = tmp_path / "image.ndz"
    programs.zip(disk, image)
    assert stored(image) == [
        (0, 4096 + 8320),
        (40960 - 4096, 60001),
        (81920 - 4096, 88065 + 8320),
        (131072 - 4096, 131072),
    ]


def test_what_is_before_the_first_partition_is_kept_whatever_the_table(
    make_disk, programs, tmp_path
):
    for number, label in enumerate(["dos", "gpt"]):
        disk = make_disk(64, f"label: {label}\n100000,2048\n" + "104000,2048\n" * 0)
        put(disk, bytes(90000 * 512), 5000)
        image = tmp_path / f"{number}.ndz"
        programs.zip(disk, image)
        assert stored(image)[0] == (0, 102048 + 8320)


def test_bare_filesystem_unknown_input_and_raw(tools, programs, tmp_path, capsys):
    tools.need("mke2fs")
    disk = tools.junk(tmp_path / "bare.img", 32 * MIB)
    tools.run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-E", "nodiscard", disk)
    programs.zip(disk, tmp_path / "bare.ndz")
    assert check_file(tmp_path / "bare.ndz").data_bytes < 16 * MIB
    unknown = tools.junk(tmp_path / "unknown.img", MIB)
    programs.zip(unknown, tmp_path / "unknown.ndz", status=1)
    assert "No GPT or MBR partition table found!; with -r" in capsys.readouterr().err
    programs.zip("-r", unknown, tmp_path / "unknown.ndz")
    assert check_file(tmp_path / "unknown.ndz").data_bytes == MIB


def test_an_empty_file_is_an_empty_image(programs, tmp_path, capsys):
    source, image = tmp_path / "file", tmp_path / "image.ndz"
    source.touch()
    programs.zip("-f", source, image)
    assert check_file(image).data_bytes == 0
    programs.dump("-d", image)
    assert "  Chunk 0: 8 compressed bytes, sector range [0-0], 0 regions" in capsys.readouterr().out
    (tmp_path / "back").write_bytes(b"something")
    programs.unzip(image, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_a_disk_without_partitions_comes_back(tools, programs, tmp_path):
    tools.need("sfdisk")
    disk, image = tools.noisy(tmp_path / "disk.img", 12 * MIB), tmp_path / "image.ndz"
    tools.run("sfdisk", "-q", "--wipe", "never", disk, input="label: dos\n")
    programs.zip(disk, image)
    assert programs.restore_on_junk(image, 12 * MIB).read_bytes() == disk.read_bytes()


def test_a_file_of_any_size(tools, programs, tmp_path):
    source = tmp_path / "file"
    source.write_bytes(tools.noise(1000001))
    programs.zip("-f", source, tmp_path / "file.ndz")
    programs.unzip(tmp_path / "file.ndz", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_ignored_and_raw_partitions(make_disk, tools, programs, tmp_path):
    disk = make_disk(16, "label: dos\n2048,8192,83\n10240,8192,83\n18432,16,83\n18448,4096,83\n")
    mkfs_ext(tools, disk, 2048, 4096)
    image = tmp_path / "image.ndz"
    programs.zip("-I2", "-I3", "-R1", disk, image)
    assert stored(image) == [(0, 10240), (18448, 32768)]  # P2 and the small P3 are not


def test_short_free_runs_are_stored_or_blank(tools, programs, tmp_path):
    disk = tools.junk(tmp_path / "disk.img", 32 * MIB)
    tools.need("mke2fs", "dumpe2fs")
    options = ["-b", "1024", "-O", "^resize_inode", "-E", "nodiscard"]
    tools.run("mke2fs", "-q", "-F", "-t", "ext2", *options, disk)
    sizes = {}
    for least in (0, 64, 100000):
        programs.zip("-F", least, disk, tmp_path / "image.ndz")
        sizes[least] = check_file(tmp_path / "image.ndz").data_bytes
    assert sizes[0] <= sizes[64] < sizes[100000] == 32 * MIB
    programs.zip("-F", "100000", "-Z", disk, tmp_path / "image.ndz")
    target = programs.restore_on_junk(tmp_path / "image.ndz", 32 * MIB)
    ends = (4 << 20) + (64 << 10), 30 * MIB  # which are stored as they are
    assert b"\xaa" * 512 not in target.read_bytes()[slice(*ends)]
    tools.run("e2fsck", "-fn", target)


def test_standard_output_and_input(tools, tmp_path):
    data = tools.noise(3 * MIB + 100)
    done = subprocess.run(
        [sys.executable, "-c", CODE, "-orz1", "-", "-"], input=data, capture_output=True, check=True
    )
    assert done.stderr.startswith(b"...\n3145828 input (")
    assert b"Image size: 4194304 bytes" in done.stderr
    image = tmp_path / "image.ndz"
    image.write_bytes(done.stdout)
    assert check_file(image).is_sealed


def test_an_endless_standard_input_is_refused(tmp_path):
    command = [sys.executable, "-c", CODE, "-r", "-", tmp_path / "out.ndz"]
    with Path("/dev/zero").open("rb") as zeros:
        done = subprocess.run(command, stdin=zeros, capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert b"standard input: a character device is no disk" in done.stderr
    assert not (tmp_path / "out.ndz").exists()


def test_a_closed_pipe_is_an_error(tools, tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(tools.noise(8 * MIB))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", CODE, "-r", disk, "-"], stdout=writer, stderr=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 1
    assert b"standard output: write error: Broken pipe" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_nothing_under_the_final_name(tmp_path, number):
    image = tmp_path / "image.ndz"
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, "-or", "-", image],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    # As many chunks as it takes: how far its threads are behind the stream, nobody knows.
    while not select.select([child.stderr], [], [], 0)[0]:
        child.stdin.write(os.urandom(MIB))
        child.stdin.flush()
    assert child.stderr.read(1) == b"."
    child.send_signal(number)
    child.communicate(timeout=10)
    assert child.returncode == -number
    assert not image.exists()
    assert number == signal.SIGKILL or list(tmp_path.iterdir()) == []


def test_a_uuid_makes_version_4(tools, programs, tmp_path):
    disk = tools.junk(tmp_path / "disk.img", MIB)
    programs.zip("-r", "-u", "00" * 15 + "2a", disk, tmp_path / "image.ndz")
    header = check_chunk((tmp_path / "image.ndz").read_bytes(), 0).header
    assert header.version == 4
    assert header.security.image_id == bytes(15) + b"*"


def bytes_read():
    """How much this process has asked for so far, holes of files included."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])


def test_of_a_large_sparse_disk_only_what_is_used_is_read(tools, programs, tmp_path):
    tools.need("mke2fs", "debugfs")
    disk, out = tmp_path / "large.img", tmp_path / "out.img"
    with disk.open("wb") as file:
        file.truncate(100 << 30)
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(tools.noise(50 * MIB))
    options = ["-N", "20000", "-J", "size=16", "-d", source]
    tools.run("mke2fs", "-q", "-F", "-t", "ext4", *options, disk)
    before = bytes_read()
    programs.zip(disk, tmp_path / "image.ndz")
    was_read = bytes_read() - before
    summary = check_file(tmp_path / "image.ndz")
    assert summary.sectors == (100 << 30) // 512
    assert 50 * MIB < summary.data_bytes < 200 * MIB
    assert was_read < summary.data_bytes + 50 * MIB
    programs.unzip("-z", tmp_path / "image.ndz", out)
    assert (out.stat().st_size, out.stat().st_blocks * 512 < 200 * MIB) == (100 << 30, True)
    tools.run("debugfs", "-R", f"dump file {tmp_path}/back", out)
    assert (tmp_path / "back").read_bytes() == (source / "file").read_bytes()


def test_a_large_gap_is_not_read(make_disk, programs, tmp_path):
    disk = make_disk(2, "label: dos\n2048,2048,da\n200000000,2048,da\n", length=100 << 30)
    before = bytes_read()
    programs.zip(disk, tmp_path / "image.ndz")
    assert bytes_read() - before < 20 * MIB
    assert stored(tmp_path / "image.ndz") == [
        (0, 4096 + 8320),
        (200000000 - 4096, 200002048 + 8320),
        (209715200 - 4096, 209715200),
    ]


def test_used_sectors_beyond_2_tib_are_refused_before_reading(programs, tmp_path, capsys):
    disk = tmp_path / "huge.img"
    sectors = (3 << 40) // 512
    with disk.open("wb") as file:
        file.truncate(sectors * 512)
    put(disk, gpt_sectors(sectors, 2048, (1 << 32) + 5), 0)
    programs.zip(disk, tmp_path / "image.ndz", status=1)
    assert "beyond what an image can count" in capsys.readouterr().err


def gpt_sectors(sectors, start, last):
    """Sectors 0 to 2 and the first entries of a GPT with one partition of no known content."""
    entry = struct.pack("<16s16sQQQ72s", b"t" * 16, b"u" * 16, start, last, 0, b"")
    entries = entry.ljust(128 * 128, b"\0")
    fields = (1, sectors - 1, 34, last + 9, b"d" * 16, 2, 128, 128, zlib.crc32(entries))
    rest = struct.pack("<QQQQ16sQIII", *fields)
    header = struct.pack("<8sIIII", b"EFI PART", 0x10000, 92, 0, 0) + rest
    check = struct.pack("<I", zlib.crc32(header))
    header = header[:16] + check + header[20:]
    protective = bytes(446) + struct.pack("<B3xB3xII", 0, 0xEE, 1, 0xFFFFFFFF)
    mbr = protective.ljust(510, b"\0") + b"\x55\xaa"
    return mbr + header.ljust(512, b"\0") + entries


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{none}", "{out}"], "none.img: No such file or directory"),
        (["-r", "{disk}", "{missing}/x.ndz"], "opening output file: No such file or directory"),
        (["{disk}"], "Must specify an output filename!"),
        (["-", "{out}"], "only be imaged with -r or -f"),
        (["-z", "10", "-r", "{disk}", "{out}"], "--level: 10 is not between 0 and 9"),
        (["-z", "10", "-r", "{none}", "{out}"], "--level: 10 is not between 0 and 9"),
        (["--memory", "7", "-r", "{none}", "{out}"], "--memory: 7 is not at least 8"),
        (["-s", "2", "{disk}", "{out}"], "No GPT or MBR partition table found!"),
        (["-r", "/dev/zero", "{out}"], "/dev/zero: a character device is no disk"),
        (["/dev/null", "{out}"], "/dev/null: a character device is no disk"),
        (["-I", "x", "{disk}", "{out}"], "'x' is not the number of a partition"),
    ],
)
def test_one_line_says_what_is_wrong(arguments, words, tools, programs, tmp_path, capsys):
    places = {
        "none": tmp_path / "none.img",
        "disk": tools.junk(tmp_path / "disk.img", MIB),
        "out": tmp_path / "out.ndz",
        "missing": tmp_path / "missing",
    }
    programs.zip(*[argument.format(**places) for argument in arguments], status=1)
    assert words in capsys.readouterr().err.splitlines()[0]
    assert not (tmp_path / "out.ndz").exists()


def test_sectors_that_cannot_be_read(tools, programs, tmp_path, monkeypatch, capsys):
    disk = tmp_path / "disk.img"
    disk.write_bytes(tools.noise(MIB))
    real = os.preadv

    def preadv(descriptor, buffers, offset, *flags):
        size = sum(len(buffer) for buffer in buffers)
        if os.fstat(descriptor).st_size == MIB and offset <= 700 * 512 < offset + size:
            raise OSError(5, "Input/output error")
        return real(descriptor, buffers, offset, *flags)

    monkeypatch.setattr(os, "preadv", preadv)
    programs.zip("-r", disk, tmp_path / "image.ndz", status=1)
    assert "read error at sector 700: Input/output error" in capsys.readouterr().err
    programs.zip("-r", "-X", disk, tmp_path / "image.ndz")
    assert "1 sectors could not be read" in capsys.readouterr().err
    monkeypatch.undo()
    data = (tmp_path / "image.ndz").read_bytes()
    untrue = [run for p in range(2) for run in check_chunk(data[p * MIB :][:MIB], p).seal.untrue]
    assert untrue == [(700, 1)]
    programs.unzip(tmp_path / "image.ndz", tmp_path / "back")
    expected = bytearray(disk.read_bytes())
    expected[700 * 512 : 701 * 512] = bytes(512)
    assert (tmp_path / "back").read_bytes() == expected


def test_without_isal_zlib_does_the_same(tools, programs, tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(tools.noise(MIB) + bytes(4 * MIB) + b"text " * (MIB // 5) + bytes(1))
    code = "import sys; sys.modules['isal'] = None; from rhubarbe.imaging.{} import main; {}"
    run_main = "sys.exit(main())"
    image, out = tmp_path / "image.ndz", tmp_path / "out.img"
    tools.run(sys.executable, "-c", code.format("imagezip", run_main), "-r", disk, image)
    tools.run(sys.executable, "-c", code.format("imageunzip", run_main), image, out)
    assert out.read_bytes() == disk.read_bytes()
    programs.unzip(image, out)
    assert out.read_bytes() == disk.read_bytes()
    engine = code.format("imagezip", "print(__import__('rhubarbe.ndz.inflate').ndz.inflate.engine)")
    assert "isal" not in tools.run(sys.executable, "-c", engine)
