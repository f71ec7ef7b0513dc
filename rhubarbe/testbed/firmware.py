"""The firmware of QEMU machines: a BIOS, which QEMU brings, or UEFI, of the Debian package ovmf.

What their network cards have is iPXE, with a BIOS, which does what other PXE would, unless DHCP
tells it of a script, by HTTP or by TFTP; UEFI is first given an iPXE, of the Debian package ipxe.

With Secure Boot the same UEFI has variables in which Microsoft's keys are enrolled: what they did
not sign is refused. That code which writes variables be protected from the system, which takes
QEMU's slow emulation of System Management Mode, matters to no test here.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.annexe.errors import MissingProgram, Misused
from rhubarbe.testbed import drives

BIOS, UEFI, SECURE_BOOT = "bios", "uefi", "secureboot"
IPXE, IPXE_TFTP, IPXE_UEFI = "ipxe", "ipxe-tftp", "ipxe-uefi"
BY_HTTP, BY_SCRIPT = (IPXE, IPXE_UEFI), (IPXE, IPXE_TFTP, IPXE_UEFI)
SNP_ONLY = Path("/usr/lib/ipxe/snponly.efi")  # by the driver that the firmware has
OVMF = Path("/usr/share/OVMF")
CODE = OVMF / "OVMF_CODE_4M.fd"
VARIABLES: Mapping[str, Path] = {
    UEFI: OVMF / "OVMF_VARS_4M.fd",
    SECURE_BOOT: OVMF / "OVMF_VARS_4M.ms.fd",
    IPXE_UEFI: OVMF / "OVMF_VARS_4M.fd",
}
KINDS = (BIOS, UEFI, SECURE_BOOT, *BY_SCRIPT)
# MiB: GRUB holds a quarter of the memory, and the one it starts a quarter of the rest.
MORE_MEMORY = 128
BOOT_FILE = "shimx64.efi"
CLIENT_ARCHITECTURES = (7, 9)  # how 64-bit UEFI calls itself to DHCP, in option 93


def parse(text: str) -> tuple[str, ...]:
    """Read `bios,uefi,...`, which machines have in turn; raises Misused."""
    kinds = tuple(text.split(","))
    for kind in kinds:
        if kind not in KINDS:
            raise Misused(f"firmware {kind!r} is none of {', '.join(KINDS)}")
    return kinds


def require(kinds: Sequence[str]) -> None:
    """Raise MissingProgram where a firmware is not installed."""
    needed = {path for kind in kinds if kind in VARIABLES for path in (CODE, VARIABLES[kind])}
    if IPXE_UEFI in kinds and not SNP_ONLY.exists():
        raise MissingProgram(
            f"--firmware {IPXE_UEFI} needs a package: apt-get install --no-install-recommends ipxe"
        )
    if not all(path.exists() for path in needed):
        raise MissingProgram(
            "--firmware uefi needs packages: apt-get install --no-install-recommends ovmf"
        )


@dataclass(frozen=True, slots=True)
class Board:
    """What a machine boots by: a BIOS, or UEFI with variables of its own, which last."""

    kind: str = BIOS
    variables: Path = Path()

    @property
    def is_uefi(self) -> bool:
        """Whether it is no BIOS."""
        return self.kind in VARIABLES

    @property
    def netboot(self) -> str:
        """By which kind of netboot it boots the ramdisk."""
        if self.kind in BY_SCRIPT:
            return "ipxe"
        return "grub" if self.is_uefi else "pxelinux"

    def make(self) -> None:
        """Put the variables there, as new machines have them; raises OSError."""
        if self.is_uefi:
            shutil.copyfile(VARIABLES[self.kind], self.variables)

    def words(self) -> list[str]:
        """Return the options of QEMU that make it."""
        if not self.is_uefi:
            return []
        flash = "if=pflash,format=raw"
        return [
            *("-drive", f"{flash},unit=0,readonly=on,file={CODE}"),
            *("-drive", f"{flash},unit=1,file={drives.value(self.variables)}"),
            # or it would try that for half a minute where no other server answers
            *("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"),
        ]

    @property
    def card(self) -> str:
        """What a network card has besides: UEFI brings its own driver, so no code on the card."""
        return ",romfile=" if self.is_uefi else ""
