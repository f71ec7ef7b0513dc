"""Every ext filesystem that mke2fs makes: imaged, restored onto junk, checked by e2fsprogs."""

import re
import subprocess

import pytest

from rhubarbe.ndz.check import check_file

MIB = 1 << 20
KINDS = {
    "debian default": (96, []),
    "1k blocks": (64, ["-b", "1024"]),
    "2k blocks": (64, ["-b", "2048"]),
    "8k blocks": (96, ["-b", "8192"]),
    "16k blocks": (96, ["-b", "16384"]),
    "64k blocks": (160, ["-b", "65536"]),
    "Debian 13, Ubuntu, Fedora": (96, ["-b", "4096", "-O", "metadata_csum_seed,orphan_file"]),
    "no 64bit": (64, ["-b", "1024", "-O", "^64bit"]),
    "no metadata_csum": (64, ["-b", "1024", "-O", "^metadata_csum"]),
    "uninit_bg": (64, ["-b", "1024", "-O", "^metadata_csum,uninit_bg"]),
    "no flex_bg": (64, ["-b", "1024", "-O", "^flex_bg"]),
    "metadata_csum_seed": (64, ["-b", "1024", "-O", "metadata_csum_seed"]),
    "meta_bg": (400, ["-b", "1024", "-O", "meta_bg,^resize_inode"]),
    "meta_bg without flex_bg": (400, ["-b", "1024", "-O", "meta_bg,^resize_inode,^flex_bg"]),
    "meta_bg 32 bits": (600, ["-b", "1024", "-O", "meta_bg,^resize_inode,^64bit,^metadata_csum"]),
    "bigalloc": (200, ["-O", "bigalloc", "-C", "65536"]),
    "bigalloc 1k": (200, ["-b", "1024", "-O", "bigalloc", "-C", "16384"]),
    "sparse_super2": (64, ["-b", "1024", "-O", "sparse_super2"]),
    "no sparse_super": (64, ["-b", "1024", "-O", "^sparse_super,^resize_inode"]),
    "inline_data": (64, ["-O", "inline_data"]),
    "orphan_file": (64, ["-O", "orphan_file"]),
    "ext2": (64, ["-t", "ext2", "-b", "1024"]),
    "ext3": (64, ["-t", "ext3", "-b", "1024"]),
    "quota and project": (64, ["-O", "quota,project"]),
    "casefold": (64, ["-O", "casefold"]),
    "encryption and verity": (64, ["-O", "encrypt,verity,stable_inodes"]),
    "fast_commit": (64, ["-O", "fast_commit"]),
    "values in inodes, large directories": (64, ["-O", "ea_inode,large_dir"]),
    "no journal": (64, ["-b", "1024", "-O", "^has_journal"]),
    "multiple mount protection": (100, ["-O", "mmp"]),  # whoever opens it waits for some seconds
    "metadata packed at the start": (64, ["-b", "1024"], "packed_meta_blocks=1"),
    "no lazy inode tables": (64, ["-b", "1024"], "lazy_itable_init=0"),
    "small inodes": (64, ["-b", "1024", "-I", "128"]),
    "a stride of a raid": (64, ["-b", "1024"], "stride=16,stripe_width=64"),
    "journal at the start": (64, ["-b", "1024", "-J", "location=2048,size=4"]),
    "large inodes": (64, ["-I", "1024"]),
    "many groups at odd size": (333, ["-b", "1024", "-g", "2048"]),
}


@pytest.fixture
def make_ext(tools, tmp_path):
    def make(mib, options, extended=""):
        tools.need("mke2fs", "debugfs", "e2fsck", "dumpe2fs")
        files = tools.files(tmp_path / "files", count=40, largest=150_000)
        disk = tools.noisy(tmp_path / "disk.img", mib * MIB)
        base = [] if "-t" in options else ["-t", "ext4"]
        command = ["mke2fs", "-q", "-F", "-E", f"nodiscard,{extended}", *base, *options]
        done = subprocess.run(
            [*command, "-d", tmp_path / "files", disk], capture_output=True, text=True, check=False
        )
        if "Invalid filesystem option" in done.stderr:
            pytest.skip(f"this mke2fs does not know: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        gone = [name for number, name in enumerate(files) if number % 3 == 0]
        requests = "".join(f"rm {name}\n" for name in gone)
        tools.run("debugfs", "-w", "-f", "-", disk, input=requests)
        return disk, {name: data for name, data in files.items() if name not in gone}

    return make


def free_blocks(tools, disk):
    """The block size, and the free runs as dumpe2fs, not we, reads them."""
    text = tools.run("dumpe2fs", disk)
    size = int(re.search(r"^Block size: +(\d+)", text, re.M)[1])
    cluster = re.search(r"^Cluster size: +(\d+)", text, re.M)
    ratio = int(cluster[1]) // size if cluster else 1  # the last of a run is named by its start
    runs = []
    for line in re.findall(r"^  Free blocks: *(.*)$", text, re.M):
        for run in filter(None, line.split(", ")):
            first, _, last = run.partition("-")
            runs.append((int(first), int(last or first) + ratio))
    backups = [int(at) for at in re.findall(r"(?:Backup|Primary) superblock at (\d+)", text)]
    return size, sorted(runs), backups


def same_files(tools, disk, files, tmp_path):
    out = tmp_path / "dumped"
    out.mkdir()
    tools.run("debugfs", "-R", f"rdump / {out}", disk)
    dumped = {path.name: path.read_bytes() for path in out.rglob("f*") if path.is_file()}
    return dumped == files


def kinds():
    """The small ones always, the others in a full run."""
    return [
        pytest.param(kind, marks=[pytest.mark.full] if mib > 96 else [])
        for kind, (mib, *_) in KINDS.items()
    ]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", kinds())
def test_used_blocks_come_back_and_free_ones_are_left_out(
    kind, make_ext, tools, programs, tmp_path
):
    disk, files = make_ext(*KINDS[kind])
    image = tmp_path / "image.ndz"
    programs.zip(disk, image)
    target = programs.restore_on_junk(image, disk.stat().st_size)

    assert subprocess.run(["e2fsck", "-fn", target], capture_output=True).returncode in (
        (0, 4) if "quota" in kind else (0,)
    )
    assert same_files(tools, target, files, tmp_path)
    block, free, backups = free_blocks(tools, disk)
    with disk.open("rb") as source, target.open("rb") as restored:
        reach = 0
        for start, end in [*free, (disk.stat().st_size // block, 0)]:
            for file in (source, restored):
                file.seek(reach * block)
            length = (start - reach) * block
            assert source.read(length) == restored.read(length), (kind, reach, start)
            reach = end
        for at in backups:
            for file in (source, restored):
                file.seek(at * block)
            assert source.read(block) == restored.read(block), (kind, at)
    size = disk.stat().st_size
    used = tools.with_edges(tools.rest([(s * block, e * block) for s, e in free], size), size)
    share = tools.share(image, disk, used)
    assert share < 1.1
    kept = sum(end - start for start, end in free if (end - start) * block < 64 * 512) * block
    assert check_file(image).data_bytes <= sum(e - s for s, e in used) + kept + 3 * 64 * 512


@pytest.mark.parametrize(
    ("made", "then", "options"),
    [(48, 200, []), (200, 40, []), (48, 200, ["-O", "meta_bg,^resize_inode"])],
)
def test_a_filesystem_that_was_resized(  # noqa: PLR0917
    make_ext, tools, programs, tmp_path, made, then, options
):
    """Its last groups are as resize2fs makes them; what is left behind of a shrunk one is kept."""
    tools.need("resize2fs")
    disk, files = make_ext(made, ["-b", "1024", *options])
    with disk.open("r+b") as file:
        file.truncate(max(made, then) * MIB)
    tools.run("e2fsck", "-fp", disk)
    tools.run("resize2fs", disk, f"{then}M")
    programs.zip("-x", disk, tmp_path / "image.ndz")
    target = programs.restore_on_junk(tmp_path / "image.ndz", disk.stat().st_size)
    tools.run("e2fsck", "-fn", target)
    assert same_files(tools, target, files, tmp_path)
    block, free, backups = free_blocks(tools, disk)
    used = tools.rest([(s * block, e * block) for s, e in free], then * MIB)
    used = tools.with_edges(used, disk.stat().st_size)
    assert tools.share(tmp_path / "image.ndz", disk, used) < 1.1
    source, restored = disk.read_bytes(), target.read_bytes()
    for start, end in [*used, *((at * block, (at + 1) * block) for at in backups)]:
        assert source[start:end] == restored[start:end], start


def test_a_filesystem_with_a_journal_to_replay_is_stored_whole(
    make_ext, tools, programs, tmp_path, capsys
):
    disk, _ = make_ext(32, ["-b", "1024"])
    tools.run("debugfs", "-w", "-R", "feature needs_recovery", disk)
    programs.zip(disk, tmp_path / "image.ndz")
    assert "its ext journal is yet to be replayed: stored whole" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == disk.stat().st_size


def test_a_filesystem_whose_journal_is_elsewhere_is_stored_whole(tools, programs, tmp_path, capsys):
    tools.need("mke2fs", "debugfs")
    disk = tools.junk(tmp_path / "disk.img", 16 << 20)
    tools.run("mke2fs", "-qF", "-t", "ext4", disk)
    tools.run("debugfs", "-w", "-R", "set_super_value journal_inum 0", disk)
    tools.run("debugfs", "-w", "-R", "set_super_value journal_dev 0x801", disk)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "its ext journal is on another device: stored whole" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == disk.stat().st_size


def test_the_journal_itself_of_another_filesystem_is_stored_whole(
    tools, programs, tmp_path, capsys
):
    tools.need("mke2fs")
    disk = tools.junk(tmp_path / "disk.img", 16 << 20)
    tools.run("mke2fs", "-qF", "-O", "journal_dev", disk)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "an external ext journal: stored whole" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == disk.stat().st_size


@pytest.mark.parametrize(
    ("state", "words"), [(0, "was not unmounted"), (3, "has errors"), (2, "has errors")]
)
def test_bitmaps_that_may_lie_are_not_trusted(make_ext, programs, tmp_path, capsys, state, words):
    disk, _ = make_ext(32, ["-t", "ext2", "-b", "1024"])
    with disk.open("r+b") as file:
        file.seek(1024 + 0x3A)
        file.write(bytes([state, 0]))
    programs.zip(disk, tmp_path / "image.ndz")
    assert f"{words}: stored whole" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == disk.stat().st_size


@pytest.mark.parametrize(
    ("at", "value"),
    [(1024 + 0x18, b"\x40\0\0\0"), (1024 + 0x20, b"\0\0\0\0"), (1024 + 4, b"\xff\xff\xff\x0f")],
)
def test_a_superblock_that_makes_no_sense_is_stored_raw(
    make_ext, programs, tmp_path, capsys, at, value
):
    disk, _ = make_ext(32, ["-b", "1024"])
    with disk.open("r+b") as file:
        file.seek(at)
        file.write(value)
    programs.zip(disk, tmp_path / "image.ndz")
    assert ": stored raw" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == disk.stat().st_size
