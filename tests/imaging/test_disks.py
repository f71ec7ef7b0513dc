"""What is written is a disk that is there, and not in use; with the kernel's own devices."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rhubarbe.imaging.devices import disks_here

MIB = 1 << 20
BIN = Path(sys.executable).parent
NODES = 'for n in "null 1 3" "zero 1 5" "urandom 1 9" "random 1 8" "tty 5 0"; do set -- $n; '


def test_the_disks_of_a_machine_are_named(tmp_path):
    places = {
        "nvme0n1": {
            "size": "1000215216",
            "device/model": "Samsung SSD 980 500GB  ",
            "device/serial": "S64DNX0R",
        },
        "sda": {"size": "20971520", "device/model": "QEMU HARDDISK"},
        "vda": {"size": "4194304", "serial": "a\x1b[31mb", "device/vendor": "0x1af4"},
        "mmcblk0": {"size": "61071360", "device/name": "SD32G", "device/serial": "0x15"},
        "sr0": {"size": "4096", "device/model": "DVD"},
        "sdb": {"size": "0", "device/model": "card reader"},
        "nvme0c0n1": {"size": "8", "hidden": "1", "device/model": "a path"},
        "loop0": {"size": "8"},
        "md0": {"size": "8"},
    }
    for name, files in places.items():
        for file, text in files.items():
            place = tmp_path / "block" / name / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text + "\n")
    page = tmp_path / "block/sda/device/vpd_pg80"
    page.write_bytes(b"\x00\x80\x00\x24" + b"QM00001".ljust(0x24))
    assert disks_here(tmp_path) == (
        "this machine has mmcblk0 (29.12 GiB, SD32G, serial 0x15),"
        " nvme0n1 (476.9 GiB, Samsung SSD 980 500GB, serial S64DNX0R),"
        " sda (10 GiB, QEMU HARDDISK, serial QM00001), vda (2 GiB, serial ab)"
    )
    assert disks_here(tmp_path / "block/md0") == "this machine has no disk"


@pytest.fixture
def run(small_image, tmp_path):
    """Run a script where /dev is a filesystem of its own, or another directory of the root's."""
    if os.getuid():
        pytest.skip("needs root")
    (tmp_path / "image.ndz").write_bytes(small_image("d8-l"))

    def run(script, *, is_mount=True):
        kind = "mount -t tmpfs tmpfs dev; " if is_mount else ""
        text = (
            f"mkdir dev; {kind}{NODES}mknod -m 666 dev/$1 c $2 $3; done; mkdir -p dev/shm dev/disk;"
            " ln -s /proc/self/fd dev/fd; ln -s /proc/self/fd/1 dev/stdout; mount --bind dev /dev;"
            f" mount -t tmpfs tmpfs /dev/shm; {script}"
        )
        # On the root's filesystem: a ramdisk has one only, /dev included.
        place = tmp_path if is_mount else Path("/var/tmp") / f"rhubarbe-{os.getpid()}"
        place.mkdir(exist_ok=True)
        try:
            return subprocess.run(
                ["unshare", "--mount", "sh", "-c", text],
                cwd=place,
                env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "I": str(tmp_path)},
                capture_output=True,
                check=False,
            )
        finally:
            if place != tmp_path:
                shutil.rmtree(place)

    return run


REFUSED = [
    ("/dev/sda", "no such disk"),
    ("/dev/nvme7n1p2", "no such disk"),
    ("/dev/mapper/root", "no such disk"),
    ("/dev/disk/dangling", "no such disk"),
    ("/dev/../dev/shm/../sdz", "no such disk"),
    ("/dev/zero", "is no disk"),
    ("/dev/stale", "is no disk"),
]


@pytest.mark.full
@pytest.mark.parametrize("is_mount", [True, False])
@pytest.mark.parametrize(("target", "words"), REFUSED)
def test_what_is_no_disk_is_refused(run, target, words, is_mount):
    done = run(
        "ln -s ../sdq /dev/disk/dangling; echo old > /dev/stale; before=$(ls -R /dev);"
        f" rhubarbe-imageunzip --verify $I/image.ndz {target}; status=$?;"
        f" rhubarbe-imagezip -r $I/image.ndz {target}; unzip=$?;"
        ' [ "$(ls -R /dev; cat /dev/stale)" = "$before\nold" ] || echo changed'.replace("\\n", "\n")
        + "; echo $status $unzip",
        is_mount=is_mount,
    )
    assert done.stdout.decode().split() == ["1", "1"], done
    assert done.stderr.count(f"{target}: {words}".encode()) == 2
    assert b"this machine has " in done.stderr


@pytest.mark.full
def test_a_file_among_devices_that_the_shell_made_is_refused(run):
    done = run("rhubarbe-imageunzip $I/image.ndz - > /dev/sdb")
    assert done.returncode == 1
    assert b"/dev/sdb: is no disk" in done.stderr


@pytest.mark.full
@pytest.mark.parametrize("target", ["/dev/null", "/dev/stdout", "/dev/fd/5", "/dev/shm/disk", "-"])
def test_what_is_written_as_any_file(run, target):
    done = run(f"rhubarbe-imageunzip -z $I/image.ndz {target} 5>/dev/null >$I/restored")
    assert done.returncode == 0, done.stderr


def sh(*command):
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def cleared():
    """Undo what was done to devices, the last first."""
    undo = []
    yield undo
    for command in reversed(undo):
        subprocess.run(command, check=False, capture_output=True)


@pytest.fixture
def mount(tmp_path, cleared):
    """Mount a device for the length of a test; return where."""

    def mount(*words):
        point = tmp_path / "point"
        point.mkdir()
        sh("mount", *words, point)
        cleared.append(["umount", point])
        return point

    return mount


@pytest.fixture
def disk(attached, tmp_path):
    """Attach a disk with two partitions; return its path, and theirs."""
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, 700 * MIB)
    subprocess.run(["sfdisk", "-q", path], input=b",350M\n,\n", check=True, capture_output=True)
    with attached(path) as device:
        sh("partx", "-a", device)
        yield device, f"{device}p1", f"{device}p2"
        subprocess.run(["partx", "-d", device], check=False, capture_output=True)


@pytest.fixture
def image(small_image, tmp_path):
    path = tmp_path / "image.ndz"
    path.write_bytes(small_image("d8-l"))
    return path


MAKE = {"ext4": "mke2fs -q -F -t ext4", "xfs": "mkfs.xfs -q -f", "btrfs": "mkfs.btrfs -q -f"}


@pytest.mark.full
@pytest.mark.parametrize("kind", MAKE)
def test_a_mounted_disk_is_refused(disk, image, programs, capsys, mount, kind):
    whole, first, second = disk
    sh(*MAKE[kind].split(), first)
    point = mount(first)
    (point / "precious").write_text("kept")
    for target in (whole, first):
        programs.unzip(image, target, status=1)
        assert f"{target} is in use (mounted on {point})" in capsys.readouterr().err
    programs.zip("-r", image, whole, status=1)
    assert "is in use" in capsys.readouterr().err
    programs.unzip(image, second)
    assert (point / "precious").read_text() == "kept"


@pytest.mark.full
def test_a_disk_that_another_namespace_has_mounted_is_refused(
    disk, image, programs, tmp_path, capsys
):
    whole, first, _ = disk
    sh("mke2fs", "-q", "-F", first)
    script = f"mount {first} {tmp_path} && echo mounted && cat"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"mounted\n"
        programs.unzip(image, whole, status=1)
        assert "is in use (the kernel holds it" in capsys.readouterr().err
        other.stdin.close()


@pytest.mark.full
def test_the_second_disk_of_a_mounted_btrfs_is_refused(disk, image, programs, capsys, mount):
    _, first, second = disk
    sh("mkfs.btrfs", "-q", "-f", first, second)
    mount("-o", f"device={second}", first)
    for target in (first, second):
        programs.unzip(image, target, status=1)
        assert "is in use (" in capsys.readouterr().err


@pytest.mark.full
def test_swap_and_what_is_behind_a_loop_device_are_refused(
    disk, image, programs, attached, capsys, cleared
):
    whole, first, second = disk
    with attached(second) as upper:
        programs.unzip(image, second, status=1)
        assert f"is in use (behind {Path(upper).name})" in capsys.readouterr().err
    sh("mkswap", first)
    sh("swapon", first)
    cleared.append(["swapoff", first])
    for target in (whole, first):
        programs.unzip(image, target, status=1)
        assert f"is in use (swap on {first})" in capsys.readouterr().err


@pytest.mark.full
def test_force_writes_all_the_same(disk, image, programs, mount):
    _, first, _ = disk
    sh("mke2fs", "-q", "-F", first)
    mount("-r", first)
    programs.unzip("--force", image, first)


@pytest.mark.full
def test_nobody_mounts_a_disk_that_is_written(disk, tmp_path):
    from rhubarbe.imaging.target import Target

    _, first, _ = disk
    sh("mke2fs", "-q", "-F", first)
    with Target.open(first):
        assert subprocess.run(["mount", first, tmp_path], check=False).returncode
