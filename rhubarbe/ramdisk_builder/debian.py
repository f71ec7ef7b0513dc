"""A real Debian for the sample system: minimal, with systemd and OpenSSH, by mmdebstrap.

Who runs this need not be root: mmdebstrap then works in a user namespace, and gives an archive.
"""

import platform
import shutil
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

from rhubarbe.annexe.errors import MissingProgram, ProgramFailed
from rhubarbe.ramdisk_builder import programs
from rhubarbe.ramdisk_builder.base import FILES, PATH_OF_KEYS
from rhubarbe.ramdisk_builder.errors import PackageError
from rhubarbe.ramdisk_builder.tree import FileEntry, Tree

INCLUDED = "systemd-sysv,udev,openssh-server,iproute2"
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
LIMIT_S = 1200
UNITS = "etc/systemd/system"
ENABLED = {
    f"{UNITS}/multi-user.target.wants/systemd-networkd.service": "systemd-networkd.service",
    f"{UNITS}/sockets.target.wants/systemd-networkd.socket": "systemd-networkd.socket",
}
# They would look for updates just when a node has booted, or load modules that no node needs.
MASKED = (
    *(f"modprobe@{name}.service" for name in ("loop", "efi_pstore", "dm_mod", "fuse", "configfs")),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount"),
    *("dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount", "systemd-pstore.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("systemd-timesyncd.service", "e2scrub_reap.service"),
)


def make_tree(workroom: Path, keys: Sequence[str], stamp: str) -> Tree:
    """Return the files of a Debian that lets root in by these keys; `workroom` keeps their content.

    Raises MissingProgram, PackageError, TreeError, OSError.
    """
    archive = workroom / "debian.tar"
    _bootstrap(archive)
    tree = read_archive(archive, workroom)
    archive.unlink()
    tree.add_directory("root/.ssh", 0o700)
    tree.add_file(PATH_OF_KEYS, "".join(f"{key}\n" for key in keys), 0o600)
    tree.add_file("etc/hostname", "debian\n")
    tree.add_file("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 debian\n")
    tree.add_file("etc/rhubarbe-image", stamp)
    tree.add_file("etc/machine-id", "")  # made at the first boot
    tree.add_file("etc/systemd/network/ethernet.network", FILES / "ethernet.network")
    for path, unit in ENABLED.items():
        tree.add_link(path, f"/lib/systemd/system/{unit}")
    for unit in MASKED:
        tree.add_link(f"{UNITS}/{unit}", "/dev/null")
    return tree


def _bootstrap(archive: Path) -> None:
    """Write an archive of a new Debian, of the same release as this machine's."""
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian":
        raise MissingProgram("--debian is made of this machine's release, which is no Debian")
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    words = ["--quiet", "--variant=minbase", f"--include={INCLUDED}", *excluded]
    program = programs.find("mmdebstrap")
    try:
        programs.run([program, *words, release["VERSION_CODENAME"], str(archive)], limit=LIMIT_S)
    except ProgramFailed as error:
        raise PackageError(f"Debian packages cannot be had: {error}") from error


def read_archive(archive: Path, workroom: Path) -> Tree:
    """Return the files of a tar archive, but its devices; raises PackageError, TreeError."""
    tree = Tree()
    try:
        with tarfile.open(archive) as tar:
            for number, member in enumerate(tar):
                if path := member.name.removeprefix("./").strip("./"):
                    _read_member(tree, tar, member, path, workroom / f"tar{number}")
    except tarfile.TarError as error:
        raise PackageError(f"mmdebstrap gave no archive: {error}") from error
    return tree


def _read_member(
    tree: Tree, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, place: Path
) -> None:
    owner = (member.uid, member.gid)
    if member.isdir():
        tree.add(path, FileEntry(stat.S_IFDIR | member.mode, owner=owner))
    elif member.issym():
        tree.add(path, FileEntry(stat.S_IFLNK | 0o777, member.linkname.encode(), owner=owner))
    elif member.islnk():
        tree.add(path, tree[tree.resolve(member.linkname.removeprefix("./"))])
    elif member.isreg() and (content := tar.extractfile(member)):
        with place.open("wb") as file:
            shutil.copyfileobj(content, file)
        tree.add(path, FileEntry(stat.S_IFREG | member.mode, place, owner=owner))
