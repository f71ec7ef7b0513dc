"""A guest: a Debian kernel in QEMU that runs a script on disks that are files here.

It knows what this machine's kernel may not: md, LVM, LUKS, f2fs, vfat, NVMe, sectors of 4096 bytes;
and has the tools for them, out of Debian packages, beside our own imagezip and imageunzip. No root
is needed. Software emulation always, since /dev/kvm may be there and hang.

    run_in_guest("mkfs.f2fs -q /dev/nvme0n1", [Drive(path, "nvme")])
"""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from virtual import KERNEL_WORDS

from rhubarbe.ramdisk_builder import base, cpio, output, ramdisk
from rhubarbe.ramdisk_builder.errors import PackageError
from rhubarbe.ramdisk_builder.libraries import Sysroot, add_binary
from rhubarbe.ramdisk_builder.modules import add_modules
from rhubarbe.ramdisk_builder.packages import Packages, default_cache
from rhubarbe.ramdisk_builder.tree import Tree
from rhubarbe.testbed import drives
from rhubarbe.testbed.drives import Drive

__all__ = ["Drive", "GuestFailed", "run_in_guest"]

TOOLS = (
    *("bash", "coreutils", "diffutils", "findutils", "grep", "sed", "tar", "util-linux", "mount"),
    *("bsdextrautils", "fdisk", "gdisk", "parted", "libc-bin", "libgcc-s1"),
    *("mdadm", "lvm2", "dmsetup", "cryptsetup-bin"),
    *("e2fsprogs", "dosfstools", "mtools", "ntfs-3g", "exfatprogs", "f2fs-tools"),
    *("xfsprogs", "btrfs-progs"),
)
PLACES = ("bin", "sbin", "usr/bin", "usr/sbin")
MODULES = (
    *("qemu_fw_cfg", "virtio_console", "loop", "fuse", "f2fs", "xfs", "btrfs", "exfat", "ext4"),
    *("vfat", "isofs", "ufs", "nls_utf8", "nls_cp437", "nls_ascii", "nls_iso8859_1"),
    *("af_alg", "algif_hash", "algif_skcipher"),
)
WHOLE = (
    *("drivers/md", "crypto", "arch/x86/crypto", "drivers/nvme", "drivers/block", "drivers/virtio"),
    *("drivers/ata", "drivers/message/fusion", "drivers/scsi/megaraid"),
)
MEMORY = 1024  # MiB: all that is in the guest is in its memory, and cryptsetup wants as much again
WITHOUT_UDEV = """\
activation { udev_sync = 0 udev_rules = 0 }
devices { obtain_device_list_from_udev = 0 use_devicesfile = 0 }
"""
INIT = """\
#!/bin/bash
export PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb
export DM_DISABLE_UDEV=1   # or device mapper would wait for it
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts /run/lock /mnt /tmp
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/mounts /etc/mtab
. /etc/network
load_drivers
modprobe qemu_fw_cfg
cat /sys/firmware/qemu_fw_cfg/by_name/opt/script/raw > /tmp/script
cd /root
bash -eu -o pipefail /tmp/script </dev/null 2>&1 | cat > /dev/vport0p1
echo ${PIPESTATUS[0]} > /dev/vport0p2
sync
busybox poweroff -f
"""


class GuestFailed(AssertionError):
    """The script ended with another status than 0, or the guest never told one (then it is -1)."""

    def __init__(self, status: int, said: str, console: str) -> None:
        console = f"\nits console:\n{console[-3000:]}" if status < 0 else ""
        super().__init__(f"in the guest: status {status}\n{said[-6000:]}{console}")
        self.status = status
        self.said = said


def run_in_guest(script: str, disks=(), *, within: float = 180, memory: int = MEMORY) -> str:
    """Run a script of bash (-eu, pipefail) as root of a guest with disks; return what it said.

    A disk is a Drive, or a path for a virtio disk: /dev/vda, /dev/vdb; those on NVMe are
    /dev/nvme0n1, those on SATA and SCSI /dev/sda. What it does to them is in their files once this
    returns. Raises GuestFailed; skips the test where QEMU or the packages are not to be had.
    """
    kernel, initrd = _built()
    plugged = [disk if isinstance(disk, Drive) else Drive(Path(disk)) for disk in disks]
    with tempfile.TemporaryDirectory(prefix="guest-") as name:
        room = Path(name)
        (room / "script").write_text(script)
        for each in ("console", "said", "status"):
            (room / each).touch()
        command = _command(room, kernel, initrd, memory) + drives.words(plugged)
        with (room / "console").open("ab") as console:
            _run(command, console, within)
        said, status, told = (
            (room / each).read_text(errors="replace") for each in ("said", "status", "console")
        )
    if status.strip() != "0":
        raise GuestFailed(int(status.strip() or -1), said, told)
    return said


def _command(room: Path, kernel: Path, initrd: Path, memory: int) -> list[str]:
    words = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=multi,tb-size=128"]
    words += ["-m", str(memory), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    words += ["-kernel", str(kernel), "-initrd", str(initrd)]
    words += ["-append", f"{KERNEL_WORDS} panic=-1 rdinit=/init"]
    words += ["-serial", f"file:{room}/console", "-device", "virtio-serial-pci"]
    for number, name in enumerate(("said", "status"), start=1):
        words += ["-chardev", f"file,id={name},path={room}/{name}"]
        words += ["-device", f"virtserialport,nr={number},chardev={name},name={name}"]
    return [*words, "-fw_cfg", f"name=opt/script,file={room}/script"]


def _run(command: list[str], console, within: float) -> None:
    """Run a guest until it switches itself off, or its time is over."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=console, stderr=console
    ) as guest:
        try:
            guest.wait(within)
        except subprocess.TimeoutExpired:
            console.write(f"it did not end within {within} s\n".encode())
        finally:
            guest.kill()


def _built() -> tuple[Path, Path]:
    """Find the kernel and the initrd of the guest in the user's cache, or build them there."""
    if missing := [name for name in ("qemu-system-x86_64", "apt-get") if not shutil.which(name)]:
        pytest.skip(f"needs {' and '.join(missing)}")
    packages = Packages(default_cache())
    try:
        kernel = base.unpack_kernel(packages, "full", "amd64")
        tools = packages.unpack([*ramdisk.PACKAGES, *TOOLS])
    except PackageError as error:
        pytest.skip(str(error))
    cache = default_cache().parent / "guest"
    cache.mkdir(parents=True, exist_ok=True)
    initrd = cache / f"{_digest(str(tools), kernel.modules.release)}.cpio"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not initrd.exists():
            for older in cache.glob("*.cpio"):
                older.unlink()
            tree = _make_tree(Sysroot(tools), kernel)
            with output.replacing(initrd) as file:
                cpio.write(tree, file)
    return kernel.image, initrd


def _digest(*words: str) -> str:
    """Name what these parts and the programs of this checkout make."""
    digest = hashlib.sha256("\0".join(words).encode())
    package = Path(ramdisk.__file__).parents[1]
    sources = [
        path
        for room in ("ndz", "imaging", "frisbee", "ramdisk_builder")
        for path in (package / room).rglob("*")
    ]
    for path in sorted([Path(__file__), *sources]):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _make_tree(root: Sysroot, kernel: base.Kernel) -> Tree:
    tree = ramdisk.make_tree(ramdisk.RamdiskRecipe(), root, lambda text: None)
    for place in PLACES:
        for file in sorted((root.directory / place).glob("*")):
            _add_tool(tree, root, f"usr/{Path(place).name}/{file.name}", file)
    tree.add_file("etc/mke2fs.conf", root.get("etc/mke2fs.conf"))
    tree.add_file("etc/lvm/lvm.conf", WITHOUT_UDEV)
    # glibc loads it by name when a thread ends
    add_binary(tree, root, root.find_library("libgcc_s.so.1"))
    locale = root.directory / "usr/lib/locale/C.utf8"
    for file in (each for each in locale.rglob("*") if each.is_file()):
        tree.add_file(str(file.relative_to(root.directory)), file)
    names = {*base.drivers(kernel.modules, is_small=True), *kernel.modules.below(*WHOLE), *MODULES}
    add_modules(tree, kernel.modules, sorted(name for name in names if name in kernel.modules))
    tree.add_program("init", INIT)
    return tree


def _add_tool(tree: Tree, root: Sysroot, path: str, file: Path) -> None:
    """Add a program, in place of that of busybox, unless it lacks what the packages do not have."""
    if file.is_symlink():
        target = str(file.readlink())
        if root.find(path) is not None and not target.startswith("/etc/alternatives"):
            tree.add_link(path, target)
        return
    try:
        add_binary(tree, root, path, file)
    except PackageError:  # few do, such as those with a window
        tree.add_link(path, "/usr/bin/busybox")
