"""The EFI system partition: what UEFI reads of a disk. A FAT with shim, GRUB and its configuration.

Made inside a disk by mkfs.fat and mtools, so no root is needed.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from rhubarbe.ramdisk_builder import programs
from rhubarbe.ramdisk_builder.efi import Loaders
from rhubarbe.ramdisk_builder.gpt import SECTOR
from rhubarbe.ramdisk_builder.libraries import Sysroot

PACKAGES = ("dosfstools", "mtools")
# The least that makes a FAT32, which is what all UEFI must read on a disk.
SECTORS = 34 * (1 << 20) // SECTOR
# Debian's GRUB was signed with this as its place, wherever it is.
GRUB_CONFIGURATION = "EFI/debian/grub.cfg"
SETTLED = {"SOURCE_DATE_EPOCH": "315532800", "TZ": "UTC", "MTOOLSRC": "/dev/null"}
"""By which two are equal: FAT's time begins in 1980."""


def files(loaders: Loaders, root: Sysroot, configuration: Path) -> Mapping[str, Path]:
    """Return what is in it: shim where UEFI looks when it was told nothing, and what shim loads.

    Raises PackageError.
    """
    return {
        f"EFI/BOOT/{loaders.fallback}": loaders.shim_of(root),
        f"EFI/BOOT/{loaders.grub}": loaders.grub_of(root),
        GRUB_CONFIGURATION: configuration,
    }


def make(disk: Path, start: int, number: int, content: Mapping[str, Path], root: Sysroot) -> None:
    """Make the filesystem from sector `start` of a disk on; `number` is its serial number.

    Raises PackageError, ProgramFailed, OSError.
    """
    words = ["--invariant", "-F", "32", "-s", "1", "-i", f"{number:08x}", "-n", "EFI"]
    words += [f"--offset={start}", str(disk), str(SECTORS * SECTOR >> 10)]
    programs.run(root.command("usr/sbin/mkfs.fat", *words), environment=SETTLED)
    directories = {parent for path in content for parent in PurePosixPath(path).parents[:-1]}

    def mtools(verb: str, *words: str) -> None:
        image = f"{disk}@@{start * SECTOR}"
        command = root.command("usr/bin/mtools", "-c", verb, "-i", image, *words)
        programs.run(command, environment=SETTLED)

    mtools("mmd", *(f"::/{path}" for path in sorted(directories)))
    for path, source in content.items():
        mtools("mcopy", str(source), f"::/{path}")
