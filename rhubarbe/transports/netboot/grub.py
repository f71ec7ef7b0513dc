"""GRUB, booted over the network by UEFI, finds the link that its `grub.cfg` looks for.

`grub.cfg` sources `01-<mac>` beside it, and where there is none gives back to the firmware, which
goes on with its next entry, the disk: docs/KINDS.md has the lines.
"""

from pathlib import Path

from rhubarbe.config import Settings
from rhubarbe.transports.netboot.by_mac import ByMac


class Grub(ByMac):
    """The link of one node, towards an entry in GRUB's words."""

    file_name = "01-*"
    said_by = "entry and config_dir in [grub]"

    @classmethod
    def usual(cls, settings: Settings) -> tuple[Path, str]:
        """Return what [grub] says."""
        return settings.grub.config_dir, settings.grub.entry
