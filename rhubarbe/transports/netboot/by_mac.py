"""Boot programs that look for a file whose name has the node's MAC address: that is the link."""

import re
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from re import Pattern
from typing import ClassVar

from rhubarbe.config import Settings
from rhubarbe.config.section import Section, ValueKind, setting
from rhubarbe.config.values import PATH_IF_ANY
from rhubarbe.transports.netboot.base import Netboot
from rhubarbe.transports.netboot.links import Link, dashed

DASHED_MAC = "[0-9a-f]{2}(-[0-9a-f]{2}){5}"


def _file_name(text: str) -> str:
    if text in (".", "..") or "/" in text:
        raise ValueError(text)
    return text


FILE_NAME = ValueKind("the name of a file in config_dir", _file_name)


class ByMacValues(Section):
    """What the inventory says of a node; where nothing, the configuration does."""

    config_dir: Path | None = setting(
        PATH_IF_ANY, None, "where the boot program looks for the file"
    )
    entry: str = setting(FILE_NAME, "", "the file there that boots the ramdisk")


class ByMac(Netboot):
    """The link of one node, by its control MAC address."""

    takes = ByMacValues

    file_name: ClassVar[str]
    """What the boot program looks for; a star stands for the address, dashed and in lower case."""

    said_by: ClassVar[str]
    """Where in the configuration users say what the entry is."""

    def __init__(self, values: ByMacValues, mac: str, settings: Settings) -> None:
        directory, entry = self.usual(settings)
        is_said = values.config_dir or values.entry
        name = self.file_name.replace("*", dashed(mac))
        self.links = (
            Link(
                (values.config_dir or directory) / name,
                values.entry or entry,
                self._names(),
                f"netboot in the inventory, and {self.said_by}" if is_said else self.said_by,
            ),
        )

    @classmethod
    @abstractmethod
    def usual(cls, settings: Settings) -> tuple[Path, str]:
        """Return the directory, and the entry there, as the configuration has them."""

    @classmethod
    def _names(cls) -> Pattern[str]:
        return re.compile(re.escape(cls.file_name).replace(r"\*", DASHED_MAC))

    @classmethod
    def places(cls, settings: Settings) -> Iterable[tuple[Path, Pattern[str]]]:
        """Return where the links are as the configuration has it."""
        return [(cls.usual(settings)[0], cls._names())]
