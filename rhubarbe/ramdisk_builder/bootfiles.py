"""What a gateway serves by TFTP beside kernel and initrd: entries, and what finds them.

pxelinux and iPXE are the gateway's own, or the machines'; shim and GRUB are served from here, for
UEFI, with or without Secure Boot, of each architecture in one directory. Two architectures share
all of GRUB's configuration, and of iPXE's scripts.
"""

from collections.abc import Callable
from pathlib import Path

from rhubarbe.ramdisk_builder import output
from rhubarbe.ramdisk_builder.base import FILES
from rhubarbe.ramdisk_builder.efi import Loaders
from rhubarbe.ramdisk_builder.libraries import Sysroot

PXELINUX_ENTRY = "pxelinux.cfg/pxefrisbee"
GRUB_ENTRY = "grub/pxefrisbee"
"""The entries of pxelinux and of GRUB, which links of nodes point to."""
GRUB_CONFIGURATION = "grub/grub.cfg"
IPXE_ENTRY = "ipxe/pxefrisbee.ipxe"
"""The entry of iPXE, likewise."""
IPXE_SCRIPT = "ipxe/rhubarbe.ipxe"
"""What iPXE begins with, where DHCP tells it so: that leads to the node's link."""
SET_ASIDE = ".rhubarbe"
BOOTED_BY_BIOS = ("amd64", "i386")


def place(directory: Path, architecture: str) -> Path:
    """Return where kernel and initrd of an architecture go: those that BIOS boots, to the top."""
    return directory if architecture in BOOTED_BY_BIOS else directory / architecture


def write_for_bios(directory: Path) -> None:
    """Write the entry of pxelinux; raises OSError."""
    output.copy(FILES / "pxefrisbee", directory / PXELINUX_ENTRY)


def write_for_ipxe(directory: Path) -> None:
    """Write what iPXE begins with, and its entry; raises OSError."""
    for name in (IPXE_SCRIPT, IPXE_ENTRY):
        output.copy(FILES / Path(name).name, directory / name)


def write_for_uefi(
    directory: Path, loaders: Loaders, root: Sysroot, tell: Callable[[str], None]
) -> None:
    """Write shim, GRUB, its configuration, and its entry; a site's own configuration stays.

    Raises PackageError, OSError.
    """
    output.copy(loaders.shim_of(root), directory / loaders.shim)
    output.copy(loaders.grub_of(root, "grubnet"), directory / loaders.grub)
    output.copy(FILES / "grub-pxefrisbee", directory / GRUB_ENTRY)
    ours, path = FILES / "grub.cfg", directory / GRUB_CONFIGURATION
    if not _is_of_others(path, ours):
        output.copy(ours, path)
        return
    aside = path.with_name(path.name + SET_ASIDE)
    output.copy(ours, aside)
    tell(f"{path} is the site's own, and stays; what it should do for nodes is in {aside}")


def _is_of_others(path: Path, ours: Path) -> bool:
    """Whether there is a configuration that does not begin as ours do."""
    first = ours.read_bytes().splitlines()[0]
    return path.exists() and not path.read_bytes().startswith(first)
