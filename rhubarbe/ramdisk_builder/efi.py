"""What UEFI boots, signed, of Debian's: shim, which UEFI trusts, and GRUB, which shim trusts.

Shim is signed by Microsoft, whose key machines with Secure Boot have; GRUB and kernels by Debian,
whose key is in Debian's shim. Shim looks for GRUB by one name, in the directory it was loaded from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.ramdisk_builder.libraries import Sysroot


@dataclass(frozen=True, slots=True)
class Loaders:
    """The boot loaders of one architecture, as Debian's packages have them."""

    architecture: str  # Debian's name
    suffix: str  # UEFI's name, in file names
    grub_platform: str

    @property
    def packages(self) -> tuple[str, str]:
        """The packages that bring them."""
        return "shim-signed", f"grub-efi-{self.architecture}-signed"

    @property
    def shim(self) -> str:
        """What shim is called where machines load it."""
        return f"shim{self.suffix}.efi"

    @property
    def grub(self) -> str:
        """What shim loads."""
        return f"grub{self.suffix}.efi"

    @property
    def fallback(self) -> str:
        """What UEFI loads from a disk that it has no boot entry for."""
        return f"BOOT{self.suffix.upper()}.EFI"

    def shim_of(self, root: Sysroot) -> Path:
        """Return shim; raises PackageError."""
        return root.get(f"usr/lib/shim/{self.shim}.signed")

    def grub_of(self, root: Sysroot, kind: str = "grub") -> Path:
        """Return the GRUB for disks, or the one for networks (grubnet); raises PackageError."""
        place = f"usr/lib/grub/{self.grub_platform}-signed"
        return root.get(f"{place}/{kind}{self.suffix}.efi.signed")


LOADERS: Mapping[str, Loaders] = {
    each.architecture: each
    for each in (Loaders("amd64", "x64", "x86_64-efi"), Loaders("arm64", "aa64", "arm64-efi"))
}
