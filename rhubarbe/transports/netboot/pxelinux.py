"""pxelinux, booted over the network by a BIOS, looks for a link in `pxelinux.cfg`."""

from pathlib import Path

from rhubarbe.config import Settings
from rhubarbe.transports.netboot.by_mac import ByMac


class Pxelinux(ByMac):
    """The link of one node, which pxelinux finds by itself."""

    file_name = "01-*"
    said_by = "frisbee_image and config_dir in [pxelinux]"

    @classmethod
    def usual(cls, settings: Settings) -> tuple[Path, str]:
        """Return what [pxelinux] says."""
        return settings.pxelinux.config_dir, settings.pxelinux.frisbee_image
