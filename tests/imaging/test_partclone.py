"""What partclone knows: files put there and deleted, imaged, restored onto junk, compared."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field

import pytest

from rhubarbe.ndz.check import check_file

MIB = 1 << 20


def free_of_xfs(tools, disk):
    """The free ranges in bytes, as xfs_db reads the trees of free space."""
    read = ["xfs_db", "-r", "-c"]
    facts = tools.run(*read, "sb 0", "-c", "print blocksize agblocks", disk)
    block, group = (int(line.rpartition("=")[2]) for line in facts.splitlines())
    runs = re.findall(r"^ +(\d+) +(\d+) +(\d+)$", tools.run(*read, "freesp -d", disk), re.M)
    for number, start, count in sorted(tuple(map(int, run)) for run in runs):
        at = (number * group + start) * block
        yield at, at + count * block


def free_of_ntfs(_tools, disk):
    """The free ranges in bytes, by the bits of the file $Bitmap as ntfscat reads it."""
    bitmap = subprocess.run(["ntfscat", disk, "$Bitmap"], capture_output=True, check=True).stdout
    with disk.open("rb") as file:
        boot = file.read(48)
    cluster = int.from_bytes(boot[11:13], "little") * boot[13]
    count = int.from_bytes(boot[40:48], "little") * 512 // cluster
    bits = "".join(f"{byte:08b}"[::-1] for byte in bitmap)[:count]
    for run in re.finditer("0+", bits):
        yield run.start() * cluster, run.end() * cluster


def free_by_partclone(kind):
    """The free ranges in bytes of what has no tool of its own that tells them."""

    def find(tools, disk):
        domain, log = disk.with_suffix(".domain"), disk.with_suffix(".log")
        tools.run(f"partclone.{kind}", "-D", "-s", disk, "-o", domain, "-L", log)
        for line in domain.read_text().splitlines():
            if line.startswith("0x") and line.endswith("?") and len(line.split()) == 3:
                start, size = (int(word, 16) for word in line.split()[:2])
                yield start, start + size

    return find


@dataclass
class Kind:
    """How one kind is made, mounted and checked."""

    mib: int
    make: list
    check: list
    free: object
    mount: list = field(default_factory=lambda: ["mount", "-o", "nodiscard"])
    needs: list = field(default_factory=list)


KINDS = {
    "xfs": Kind(320, ["mkfs.xfs", "-qfK"], ["xfs_repair", "-n"], free_of_xfs, needs=["xfs_db"]),
    "btrfs": Kind(
        200, ["mkfs.btrfs", "-qfK"], ["btrfs", "check", "--check-data-csum"],
        free_by_partclone("btrfs"),
    ),
    "ntfs": Kind(
        64, ["mkfs.ntfs", "-qFf"], ["ntfsfix", "-n"], free_of_ntfs, ["ntfs-3g"], ["ntfscat"]
    ),
    "exfat": Kind(
        64, ["mkfs.exfat"], ["fsck.exfat", "-n"], free_by_partclone("exfat"), ["mount.exfat-fuse"]
    ),
    "f2fs": Kind(128, ["mkfs.f2fs", "-qf", "-t0"], ["fsck.f2fs", "--dry-run"],
                 free_by_partclone("f2fs"), needs=["sload.f2fs", "dump.f2fs"]),
}  # fmt: skip


def released(device, within=50):
    """Wait until nothing has the device mounted: another test's namespace may hold a copy."""
    deadline = time.monotonic() + within
    while True:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            assert error.errno == errno.EBUSY, error
            assert time.monotonic() < deadline, f"{device} is still mounted somewhere"
            time.sleep(0.05)
        else:
            return


class Mounted:
    """Files by mounting the filesystem, in a file, on a loop device."""

    def __init__(self, tools, kind, attached, point):
        self._tools, self._command = tools, KINDS[kind].mount
        self._attached, self._point = attached, point

    def put(self, disk, files):
        """Write the files; delete a third of them, once they are on the disk."""
        with self.mounted(disk, may_skip=True) as point:
            for name, data in files.items():
                (point / name).write_bytes(data)
            os.sync()
            for name in list(files)[::3]:
                (point / name).unlink()
                del files[name]

    def get(self, disk, _count):
        """Return all the files: name -> bytes."""
        with self.mounted(disk) as point:
            return {path.name: path.read_bytes() for path in point.iterdir() if path.is_file()}

    @contextlib.contextmanager
    def mounted(self, disk, *, may_skip=False):
        self._point.mkdir(exist_ok=True)
        with self._attached(disk) as device:
            command = [*self._command, device, self._point]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode and may_skip:
                pytest.skip(f"this machine cannot {command[0]} it: {done.stderr.strip()}")
            assert done.returncode == 0, done.stderr
            try:
                yield self._point
            finally:
                self._tools.run("umount", self._point)
                released(device)


class ByF2fsTools:
    """Files of f2fs, which few kernels know, by its own tools; none of them deletes."""

    def __init__(self, tools, directory):
        self._tools, self._directory = tools, directory

    def put(self, disk, files):
        source = self._directory / "source"
        source.mkdir()
        for name, data in files.items():
            (source / name).write_bytes(data)
        self._tools.run("sload.f2fs", "-f", source, disk)

    def get(self, disk, count):
        """Dump the inodes after that of the root, which is 3."""
        for inode in range(4, 4 + count):
            command = ["dump.f2fs", "-i", f"{inode:#x}", disk.resolve()]
            self._tools.run(*command, cwd=self._directory, input="y\n")
        found = self._directory / "lost_found"
        return {path.name: path.read_bytes() for path in found.iterdir()}


@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_files_come_back_and_free_space_is_left_out(
    kind, attached, tools, programs, tmp_path, capsys
):
    it = KINDS[kind]
    tools.need(it.make[0], it.check[0], it.mount[0], f"partclone.{kind}", *it.needs)
    disk = tools.noisy(tmp_path / "disk.img", it.mib * MIB)
    tools.run(*it.make, disk)
    files = tools.files(count=150, seed=1)
    reach = (
        ByF2fsTools(tools, tmp_path)
        if kind == "f2fs"
        else Mounted(tools, kind, attached, tmp_path / "point")
    )
    reach.put(disk, files)

    image = tmp_path / "image.ndz"
    programs.zip("-l", disk, image)
    target = programs.restore_on_junk(image, disk.stat().st_size)
    assert "stored" not in capsys.readouterr().err
    tools.run(*it.check, target)
    assert reach.get(target, len(files)) == files
    size = it.mib * MIB
    used = tools.with_edges(tools.rest(it.free(tools, disk), size), size)
    share = tools.share(image, disk, used)
    assert share < 1.1


@pytest.mark.full
def test_a_partition_of_a_disk(attached, tools, programs, tmp_path, capsys):
    """Partclone wants a device, so it gets a loop device that shows the partition only."""
    tools.need("sfdisk", "mkfs.ntfs", "ntfscp", "ntfscat", "ntfsfix", "partclone.ntfs")
    part = tools.noisy(tmp_path / "part.img", 24 * MIB)
    tools.run(*KINDS["ntfs"].make, part)
    (tmp_path / "file").write_bytes(tools.noise(3 * MIB))
    tools.run("ntfscp", part, tmp_path / "file", "file")
    used = tools.with_edges(tools.rest(free_of_ntfs(tools, part), 24 * MIB), 24 * MIB)
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(2 * MIB) + part.read_bytes() + tools.noise(6 * MIB))
    script = "label: gpt\n4096,49152,EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n"
    tools.run("sfdisk", "-q", "--wipe", "never", disk, input=script)
    with attached(part):
        pass  # skips where there are no loop devices

    programs.zip(disk, tmp_path / "image.ndz")
    target = programs.restore_on_junk(tmp_path / "image.ndz", 32 * MIB)
    assert "stored" not in capsys.readouterr().err
    around = [(0, 2 * MIB), *((s + 2 * MIB, e + 2 * MIB) for s, e in used), (26 * MIB, 32 * MIB)]
    assert tools.share(tmp_path / "image.ndz", disk, around) < 1.1
    part.write_bytes(target.read_bytes()[2 * MIB : 26 * MIB])
    tools.run("ntfsfix", "-n", part)
    found = subprocess.run(["ntfscat", part, "file"], capture_output=True, check=True).stdout
    assert found == (tmp_path / "file").read_bytes()
    assert "loop" not in tools.run("losetup", "-j", disk)  # and it is gone again


@pytest.mark.full
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_log_that_is_yet_to_be_replayed_makes_it_stored_whole(
    kind, attached, tools, programs, tmp_path, capsys
):
    """The plug is pulled while it is mounted: what the log holds, the used map does not."""
    it = KINDS[kind]
    tools.need(it.make[0], it.check[0], f"partclone.{kind}", "xfs_logprint")
    disk, pulled = tmp_path / "disk.img", tmp_path / "pulled.img"
    with disk.open("wb") as file:
        file.truncate(it.mib * MIB)
    tools.run(*it.make, disk)
    files = tools.files(count=20)
    reach = Mounted(tools, kind, attached, tmp_path / "point")
    with reach.mounted(disk, may_skip=True) as point:
        for name, data in files.items():
            with (point / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        shutil.copyfile(disk, pulled)
    programs.zip("-l", pulled, tmp_path / "image.ndz")
    assert (
        f"{kind}, but its {kind} log is yet to be replayed: stored raw" in capsys.readouterr().err
    )
    target = programs.restore_on_junk(tmp_path / "image.ndz", pulled.stat().st_size)
    assert reach.get(target, len(files)) == files


def alter_checkpoint(file, at, change):
    """Change a byte of the head of both checkpoints of an f2fs."""
    file.seek(1024 + 76)
    first = int.from_bytes(file.read(4), "little") * 4096
    for pack in (first, first + 512 * 4096):
        file.seek(pack + at)
        byte = file.read(1)[0]
        file.seek(pack + at)
        file.write(bytes([change(byte)]))


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "alter", "words"),
    [
        ("ntfs", None, "partclone.ntfs refused it (uncleanly. Please boot Windows"),
        ("exfat", lambda file: (file.seek(106), file.write(b"\2")), "was not unmounted"),
        ("f2fs", lambda file: alter_checkpoint(file, 132, lambda b: b & ~1), "was not unmounted"),
        ("f2fs", lambda file: alter_checkpoint(file, 0, lambda b: b ^ 1), "was not unmounted"),
    ],
)
def test_what_was_not_unmounted_is_stored_whole(  # noqa: PLR0917
    kind, alter, words, tools, programs, tmp_path, capsys
):
    it = KINDS[kind]
    tools.need(it.make[0], f"partclone.{kind}", "ntfsfix")
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(it.mib * MIB)
    tools.run(*it.make, disk)
    if alter:
        with disk.open("r+b") as file:
            alter(file)
    else:
        tools.run("ntfsfix", disk)  # which asks Windows for a check
    programs.zip("-l", disk, tmp_path / "image.ndz")
    error = capsys.readouterr().err
    assert f"{kind}, but " in error
    assert words in error
    assert ": stored raw" in error
    assert check_file(tmp_path / "image.ndz").data_bytes == it.mib * MIB


def test_a_kind_that_partclone_cannot_tell_is_stored_raw(
    tools, programs, tmp_path, monkeypatch, capsys
):
    disk = tools.junk(tmp_path / "disk.img", MIB)
    with disk.open("r+b") as file:
        file.write(b"XFSB")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("rhubarbe.annexe.programs._ADMIN_PATH", "/nowhere")
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "xfs, but partclone.xfs is not installed: stored raw" in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes == MIB


@pytest.fixture
def xfs(tools, tmp_path):
    """A disk with an xfs, and a partclone.xfs of the test's own before the real one on the PATH."""
    tools.need("mkfs.xfs", "xfs_logprint", "partclone.xfs")
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(320 * MIB)
    tools.run("mkfs.xfs", "-qfK", disk)
    (tmp_path / "bin").mkdir()

    def put(script):
        program = tmp_path / "bin" / "partclone.xfs"
        program.write_text(f"#!/bin/sh\nreal={shutil.which('partclone.xfs')}\n{script}\n")
        program.chmod(0o755)
        return disk

    return put


FAILING = [
    ('$real "$@" | head -c 300', "partclone's map"),
    ('$real "$@" | sed "\\$d"', "partclone's map ends at byte"),
    ('$real "$@" | sed 8d', "partclone's map is not understood"),
    ('$real "$@" | head -c 300; kill -SEGV $$', "partclone.xfs died of signal 11"),
    ('$real "$@"; exit 3', "partclone.xfs refused it"),
    ("exit 0", "partclone's map is not understood"),
    ("yes", "partclone.xfs says more than 1 MiB"),
    ("echo; yes >&2", "partclone.xfs says more than 1 MiB"),
    ("exec sleep 1000", "partclone.xfs has not ended within 2 s"),
    ("printf 'bad \\033[31mwords' >&2; exit 1", "refused it (bad words)"),
    (
        r"printf '0x14000000  ?\n0x0 0x1000 +\n0x1000 0x13FFF000 ?\n'",
        "less is in use by partclone.xfs than by its superblock",
    ),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(*how, marks=[] if number < 4 else [pytest.mark.full])
        for number, how in enumerate(FAILING)
    ],
)
def test_a_partclone_that_fails_makes_it_stored_raw(  # noqa: PLR0917
    script, words, xfs, programs, tmp_path, monkeypatch, capsys
):
    """Whatever it did, and whatever its status says: never an image with holes."""
    disk = xfs(script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(
        "rhubarbe.imaging.filesystems.programs._LIMIT_S", 2 if "sleep" in script else 50
    )
    monkeypatch.setattr("rhubarbe.imaging.filesystems.programs._SAID_MAX", MIB)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    error = capsys.readouterr().err
    assert "xfs, but " in error
    assert words in error
    assert ": stored raw" in error
    assert check_file(tmp_path / "image.ndz").data_bytes == disk.stat().st_size


def test_no_room_for_temporary_files_does_no_harm(xfs, programs, tmp_path, monkeypatch, capsys):
    disk = xfs('exec $real "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", "/dev/full")
    monkeypatch.setattr("tempfile.tempdir", None)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "stored raw" not in capsys.readouterr().err
    assert check_file(tmp_path / "image.ndz").data_bytes < disk.stat().st_size / 2


MIB_OF_JUNK = b"behind the end\n" * 70000
TAILED = {
    "ext": (["mke2fs", "-qF", "-t", "ext4"], ["24m"], 24),
    "fat": (["mkfs.vfat"], [str(24 << 10)], 24),
    "swap": (["mkswap", "-q"], [str(24 << 10)], 24),
    "btrfs": (["mkfs.btrfs", "-qfK", "-b", "130m"], [], 130),
    "xfs": (["mkfs.xfs", "-qf", "-d", "size=320m"], [], 320),
    "ntfs": (["mkfs.ntfs", "-qFf", "-s", "512"], [str((24 << 11) - 1)], 24),
    "f2fs": (["mkfs.f2fs", "-qf", "-t0"], [str(128 << 11)], 128),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.full] if mib > 24 else [])
        for kind, (_, _, mib) in TAILED.items()
    ],
)
def test_what_is_behind_a_filesystem_is_kept_alike_for_all(kind, tools, programs, tmp_path, capsys):
    command, size, mib = TAILED[kind]
    tools.need(command[0], *([f"partclone.{kind}"] if kind in {"xfs", "ntfs", "f2fs"} else []))
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate((mib + 6) * MIB)
    disk.chmod(0o600)
    tools.run(*command, disk, *size)
    with disk.open("r+b") as file:
        file.seek(mib * MIB + 512)
        file.write(MIB_OF_JUNK)
    programs.zip("-l", disk, tmp_path / "image.ndz")
    assert "stored raw" not in capsys.readouterr().err
    target = programs.restore_on_junk(tmp_path / "image.ndz", disk.stat().st_size)
    with disk.open("rb") as source, target.open("rb") as restored:
        source.seek(mib * MIB)
        restored.seek(mib * MIB)
        assert source.read() == restored.read()

    programs.zip("-l", "-x", disk, tmp_path / "without.ndz")
    assert "stored raw" not in capsys.readouterr().err
    target = programs.restore_on_junk(tmp_path / "without.ndz", disk.stat().st_size)
    with target.open("rb") as restored:
        restored.seek((mib + 2) * MIB)
        assert restored.read(MIB) == b"\xaa" * MIB


ELSEWHERE = {
    "xfs": (["mkfs.xfs", "-qfK", "-l", "logdev={second},size=64m"], "its log is on another device"),
    "xfs-realtime": (["mkfs.xfs", "-qfK", "-r", "rtdev={second}"], "a realtime part"),
    "f2fs": (["mkfs.f2fs", "-qf", "-t0", "-c", "{second}"], "it spreads over several devices"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_filesystem_that_spreads_over_devices_is_stored_raw(
    kind, tools, programs, tmp_path, capsys
):
    command, words = ELSEWHERE[kind]
    tools.need(command[0], f"partclone.{kind.partition('-')[0]}")
    disk, second = tmp_path / "disk.img", tmp_path / "second.img"
    for path in (disk, second):
        with path.open("wb") as file:
            file.truncate(320 * MIB)
    words_of = [word.format(second=second.name) for word in command]
    tools.run(*words_of, disk.name, cwd=tmp_path)  # f2fs keeps 64 bytes of a path
    programs.zip("-l", disk, tmp_path / "image.ndz")
    error = capsys.readouterr().err
    assert words in error
    assert ": stored raw" in error
    assert check_file(tmp_path / "image.ndz").data_bytes == disk.stat().st_size
