"""What an image holds that should be one machine's own: nodes loaded with it would share it.

Looked for on ext2, ext3 and ext4 filesystems, also where /var has one of its own.
"""

import contextlib
import fnmatch

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.ext_files import ExtFilesystem
from rhubarbe.errors import ImageError
from rhubarbe.ndz.errors import NdzError
from rhubarbe.repository.inside import volumes
from rhubarbe.repository.sectors import Deadline, DiskInside
from rhubarbe.shared.directory import StrPath

MACHINE_IDS = ("etc/machine-id", "var/lib/dbus/machine-id")
UNSET = (b"", b"uninitialized")
# What it is called, and in which directories what names tell it.
KINDS = {
    "ssh host key": (
        "etc/ssh/ssh_host_*_key",
        "etc/dropbear/dropbear_*_host_key",
        "etc/dropbear/initramfs/dropbear_*_host_key",
        "etc/dropbear-initramfs/dropbear_*_host_key",
    ),
    "DHCP lease": (
        "var/lib/dhcp/*.leases",
        "var/lib/dhclient/*.lease*",
        "var/lib/dhcpcd/*.lease*",
        "var/lib/dhcpcd5/*.lease*",
        "var/lib/NetworkManager/*.lease",
        "var/lib/wicked/lease-*.xml",
    ),
    "DHCP identifier": (
        "etc/dhcpcd.duid",
        "var/lib/dhcpcd/duid",
        "var/lib/dhcpcd5/duid",
    ),
    "random seed": (
        "var/lib/systemd/random-seed",
        "var/lib/urandom/random-seed",
        "var/lib/misc/random-seed",
        "var/lib/random-seed",
        "var/lib/seedrng/seed.*credit",
    ),
    "credential secret": ("var/lib/systemd/credential.secret",),
}


def own_things(image: StrPath, deadline: Deadline) -> list[str]:
    """Return in words what an image holds of one machine only; none where it holds nothing.

    Raises ImageError where there is no root that can be looked at.
    """
    try:
        with DiskInside(image, deadline) as disk:
            return _words([volume.files for volume in volumes(disk)])
    except (OSError, NdzError, FilesystemError) as error:
        raise ImageError(f"{image}: {error}") from error


def _words(filesystems: list[ExtFilesystem]) -> list[str]:
    if not any(_is_root(files) for files in filesystems):
        raise FilesystemError("no root on an ext2, ext3 or ext4 filesystem")
    found = ["machine-id"] * any(_has_machine_id(files) for files in filesystems)
    for thing, patterns in KINDS.items():
        count = sum(_count(files, pattern) for files in filesystems for pattern in patterns)
        if count:
            one = f"an {thing}" if thing.startswith("ssh") else f"a {thing}"
            found.append(one if count == 1 else f"{count} {thing}s")
    return found


def _is_root(files: ExtFilesystem) -> bool:
    try:
        return bool(files.names("etc"))
    except FilesystemError:
        return False


def _here(files: ExtFilesystem, path: str) -> str:
    """Return a path of the system as it is on this filesystem, which may be that of /var."""
    return path if _is_root(files) else path.removeprefix("var/")


def _has_machine_id(files: ExtFilesystem) -> bool:
    for path in MACHINE_IDS:
        with contextlib.suppress(FilesystemError):
            if files.read(_here(files, path)).strip() not in UNSET:
                return True
    return False


def _count(files: ExtFilesystem, pattern: str) -> int:
    """Return how many files with content fit a pattern; what cannot be read does not count."""
    directory, _, names = _here(files, pattern).rpartition("/")
    try:
        fitting = fnmatch.filter(files.names(directory), names)
        return sum(1 for name in fitting if files.size(f"{directory}/{name}"))
    except FilesystemError:
        return 0
