"""pxelinux looks for a file called `01-<mac>`, with dashes and in lower case, in `pxelinux.cfg`."""

import re
from pathlib import Path

from rhubarbe.config import Settings
from rhubarbe.config.section import Section, ValueKind, setting
from rhubarbe.config.settings import PATH_IF_ANY
from rhubarbe.transports.netboot.links import Link


def _file_name(text: str) -> str:
    if text in (".", "..") or "/" in text:
        raise ValueError(text)
    return text


FILE_NAME = ValueKind("the name of a file in config_dir", _file_name)


class PxelinuxValues(Section):
    """What the inventory says of a node; where nothing, [pxelinux] does."""

    config_dir: Path | None = setting(PATH_IF_ANY, None, "where pxelinux looks for the file")
    entry: str = setting(FILE_NAME, "", "the file there that boots the ramdisk")


class Pxelinux(Link):
    """The link of one node, by its control MAC address."""

    takes = PxelinuxValues
    names = re.compile(r"01(-[0-9a-f]{2}){6}")
    said_by = "frisbee_image and config_dir in [pxelinux]"

    def __init__(self, values: PxelinuxValues, mac: str, settings: Settings) -> None:
        directory = values.config_dir or settings.pxelinux.config_dir
        self.path = directory / f"01-{mac.lower().replace(':', '-')}"
        self.entry = values.entry or settings.pxelinux.frisbee_image
        if values.config_dir or values.entry:
            self.said_by = f"netboot in the inventory, and {self.said_by}"
