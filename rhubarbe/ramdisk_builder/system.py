"""A small system on a bootable disk: what nodes are loaded with where one has no image to try."""

import io
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.ramdisk_builder import base, cpio, debian, disk, programs
from rhubarbe.ramdisk_builder.base import FILES
from rhubarbe.ramdisk_builder.libraries import Sysroot
from rhubarbe.ramdisk_builder.modules import Modules, add_modules
from rhubarbe.ramdisk_builder.packages import Packages
from rhubarbe.ramdisk_builder.tree import Tree

PACKAGES = (*base.PACKAGES, *disk.PACKAGES)
NAME = "sample"
STAMP = "on no node - image {} - by rhubarbe-ramdisk\n"
SIZES = {False: 96, True: 560}  # MiB
RELEASE = 'NAME="Rhubarbe sample"\nID=rhubarbe\nVERSION_ID=1\n'


@dataclass(frozen=True, slots=True)
class SystemRecipe:
    """What is asked for: `size` of the disk in MiB, or 0 for what is usual; `kernel` as for build.

    A Debian is real, and large; else it is busybox and Dropbear.
    """

    keys: Sequence[str]
    size: int = 0
    kernel: str = "cloud"
    is_debian: bool = False


def build(recipe: SystemRecipe, packages: Packages, path: Path) -> None:
    """Write the disk; raises NetbootError, OSError."""
    architecture = programs.run([programs.find("dpkg"), "--print-architecture"]).strip()
    kernel = base.unpack_kernel(packages, recipe.kernel, architecture)
    root = Sysroot(packages.unpack(PACKAGES))
    with tempfile.TemporaryDirectory(prefix="rhubarbe-ramdisk-", dir=path.parent) as workroom:
        if recipe.is_debian:
            tree = debian.make_tree(Path(workroom), recipe.keys, STAMP.format("debian"))
        else:
            tree = make_tree(recipe, root)
        tree.add_file("boot/vmlinuz", kernel.image)
        names = base.drivers(kernel.modules, is_small=recipe.kernel == "cloud")
        tree.add_file("boot/initrd", make_initrd(root, kernel.modules, names))
        size = recipe.size or SIZES[recipe.is_debian]
        name = "debian" if recipe.is_debian else NAME
        disk.write(path, disk.DiskSpec(name, size << 20), tree, root)


def make_tree(recipe: SystemRecipe, root: Sysroot) -> Tree:
    """Return all files of the system but its kernel; raises NetbootError, OSError."""
    tree = Tree()
    base.add_busybox(tree, root)
    inittab = (FILES / "system-inittab").read_text()
    tree.add_file("etc/inittab", inittab + base.add_ssh(tree, root, recipe.keys))
    tree.add_program("etc/rc", FILES / "system-rc")
    tree.add_program("usr/sbin/shutdown", FILES / "shutdown")
    tree.add_file("etc/hostname", f"{NAME}\n")
    tree.add_file("etc/os-release", RELEASE)
    tree.add_file("etc/rhubarbe-image", STAMP.format(NAME))
    return tree


def make_initrd(root: Sysroot, modules: Modules, drivers: Collection[str]) -> bytes:
    """Return what finds the root partition: busybox and drivers; raises NetbootError, OSError."""
    tree = Tree()
    base.add_busybox(tree, root)
    tree.add_program("init", FILES / "system-init")
    add_modules(tree, modules, drivers)
    archive = io.BytesIO()
    cpio.write_packed(tree, archive)
    return archive.getvalue()
