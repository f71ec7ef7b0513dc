"""The ramdisk: what is in it, and the files that a gateway serves to its nodes."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.annexe.errors import Misused
from rhubarbe.ramdisk_builder import base, bootfiles, cpio, output, programs
from rhubarbe.ramdisk_builder.base import FILES
from rhubarbe.ramdisk_builder.efi import LOADERS
from rhubarbe.ramdisk_builder.libraries import Sysroot, add_binary, add_own_program
from rhubarbe.ramdisk_builder.modules import Modules, add_modules
from rhubarbe.ramdisk_builder.packages import Packages
from rhubarbe.ramdisk_builder.python import PACKAGES as PYTHON_PACKAGES
from rhubarbe.ramdisk_builder.python import add_python
from rhubarbe.ramdisk_builder.tree import Tree

PACKAGES = (*base.PACKAGES, *PYTHON_PACKAGES, "partclone", "xfsprogs", "e2fsprogs", "ethtool")
PROGRAMS = (
    *("debugfs", "e2fsck", "mke2fs", "resize2fs", "tune2fs"),
    *(f"partclone.{kind}" for kind in ("xfs", "btrfs", "ntfs", "exfat", "f2fs")),
    *("xfs_logprint", "ethtool"),
)
# The shell of Debian's busybox prefers a mke2fs of its own to the real one, unless called by these.
LINKS = {f"usr/sbin/mkfs.ext{number}": "mke2fs" for number in (2, 3, 4)} | {
    f"usr/sbin/fsck.ext{number}": "e2fsck" for number in (2, 3, 4)
}
TELNET = "::respawn:/usr/bin/busybox telnetd -F -l /bin/sh\n"


@dataclass(frozen=True, slots=True)
class RamdiskRecipe:
    """What is asked for: `kernel` is cloud, full or a package; `firmware` are packages too.

    `architecture` is Debian's name of the machines' processor, if it is not this machine's.
    """

    kernel: str = "cloud"
    extras: Sequence[str] = ()
    firmware: Sequence[str] = ()
    keys: Sequence[str] = ()
    has_telnet: bool = True
    architecture: str = ""


def build(
    recipe: RamdiskRecipe, packages: Packages, directory: Path, tell: Callable[[str], None]
) -> Path:
    """Write `vmlinuz`, `initrd`, and what boots them; `tell` gets what is worth knowing.

    Packages are for this machine's processor; those for another one are kept in the same cache.
    Returns where kernel and initrd are. Raises AnnexeError, OSError.
    """
    here = programs.run([programs.find("dpkg"), "--print-architecture"]).strip()
    architecture, tools = recipe.architecture or here, None
    if architecture != here:
        tools = Sysroot(packages.unpack(PACKAGES))
        packages = packages.of(architecture)
    kernel = base.unpack_kernel(packages, recipe.kernel, architecture)
    root = Sysroot(packages.unpack(PACKAGES), tools)
    tree = make_tree(recipe, root, tell)
    names = base.drivers(kernel.modules, is_small=recipe.kernel == "cloud")
    add_modules(tree, kernel.modules, names)
    if recipe.firmware:
        add_firmware(tree, Sysroot(packages.unpack(recipe.firmware, ())), kernel.modules, names)
    loaders = LOADERS.get(architecture)
    unpacked = Sysroot(packages.unpack(loaders.packages, ())) if loaders else None
    place = bootfiles.place(directory, architecture)
    with output.replacing(place / "initrd") as file:
        cpio.write_packed(tree, file)
    output.copy(kernel.image, place / "vmlinuz")
    if architecture in bootfiles.BOOTED_BY_BIOS:
        bootfiles.write_for_bios(directory)
    bootfiles.write_for_ipxe(directory)
    if loaders and unpacked:
        bootfiles.write_for_uefi(directory, loaders, unpacked, tell)
    return place


def make_tree(recipe: RamdiskRecipe, root: Sysroot, tell: Callable[[str], None]) -> Tree:
    """Return all files but the kernel's modules; raises AnnexeError, OSError."""
    tree = Tree()
    base.add_busybox(tree, root)
    add_python(tree, root, tell)
    for name in PROGRAMS:
        add_packaged(tree, root, name)
    base.add_what_ends_threads(tree, root)  # partclone has threads
    for path, target in LINKS.items():
        tree.add_link(path, target)
    for extra in recipe.extras:
        add_extra(tree, root, extra)
    inittab = (FILES / "inittab").read_text()
    inittab += TELNET if recipe.has_telnet else ""
    inittab += base.add_ssh(tree, root, recipe.keys) if recipe.keys else ""
    tree.add_file("etc/inittab", inittab)
    tree.add_program("etc/rc", FILES / "rc")
    tree.add_program("etc/hotplug", FILES / "hotplug")
    return tree


def add_packaged(tree: Tree, root: Sysroot, name: str) -> None:
    """Add a program that the packages bring; raises PackageError."""
    add_binary(tree, root, root.find_program(name) or f"usr/sbin/{name}")


def add_extra(tree: Tree, root: Sysroot, wanted: str) -> None:
    """Add a program by its path here, or by its name in the packages or on this machine's $PATH."""
    packaged = None if "/" in wanted else root.find_program(wanted)
    if packaged is not None:
        add_binary(tree, root, packaged)
        return
    found = shutil.which(wanted)
    if found is None:
        raise Misused(f"there is no program {wanted}: neither in the packages nor on this machine")
    if root.is_foreign:
        raise Misused(f"{found} is for this machine's processor; the packages have no {wanted}")
    add_own_program(tree, root, Path(found))


def add_firmware(tree: Tree, root: Sysroot, modules: Modules, names: Sequence[str]) -> None:
    """Add what the modules load into their cards, as far as the packages have it."""
    for module in modules.in_order(names):
        for name in module.firmware:
            for path in (f"lib/firmware/{name}", f"lib/firmware/{name}.xz"):
                file = root.find(path)
                if file is not None:
                    tree.add_file(path, file)
