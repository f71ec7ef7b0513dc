"""iPXE fetches a script of each node, by HTTP or TFTP, where the script it begins with says so.

That has `chain --autofree http://GATEWAY/ipxe/${net0/mac:hexhyp}.ipxe || exit`: where there is no
such file, the firmware goes on with its next entry, the disk. Which server has the directory is the
site's choice, as long as it follows links.
"""

from pathlib import Path

from rhubarbe.config import Settings
from rhubarbe.transports.netboot.by_mac import ByMac


class Ipxe(ByMac):
    """The link of one node, towards a script that boots the ramdisk."""

    file_name = "*.ipxe"
    said_by = "entry and config_dir in [ipxe]"

    @classmethod
    def usual(cls, settings: Settings) -> tuple[Path, str]:
        """Return what [ipxe] says."""
        return settings.ipxe.config_dir, settings.ipxe.entry
