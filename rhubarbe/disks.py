"""Which disk of a node is meant: a path, or hints that name exactly one of those that it has.

Hints are parts with commas between them, all of which must be so: `serial=S64DNX0R`,
`wwn=naa.5002538e`, `model=Samsung*`, `size>=100G`, `size<=2TB`, `rotational=no`; and `smallest`, or
`largest`, of those that the others leave. Pure: what a node says of its disks comes from elsewhere.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from rhubarbe.text import size_of

BY_LINK = "/dev/disk/"
EXPECTED = (
    "a path such as /dev/nvme0n1, or hints: some of serial=, wwn=, model=, size>=, size<=,"
    " rotational=yes|no, smallest, largest, with commas between them"
)
PARTITION_EXPECTED = "the number of a partition, a path, or none"
NONE = "none"
MOST_PARTITIONS = 128
_UNITS = {"": 1} | {
    letter + ending: base**power
    for power, letter in enumerate("KMGTP", 1)
    for ending, base in (("", 1024), ("IB", 1024), ("B", 1000))
}
_FLAGS = {"yes": True, "1": True, "true": True, "no": False, "0": False, "false": False}
_SORTS = {"smallest": min, "largest": max}
_TEXTS = ("serial", "wwn", "model")


@dataclass(frozen=True, slots=True)
class NodeDisk:
    """One disk of a node, as the node tells it; what is not known is None, or empty.

    `links` are names below /dev/disk that udev would give it.
    """

    name: str
    path: str
    size: int | None = None
    sector_size: int | None = None
    model: str = ""
    serial: str = ""
    wwn: str = ""
    rotational: bool | None = None
    is_read_only: bool = False
    links: tuple[str, ...] = ()

    def __str__(self) -> str:
        serial = f"serial {self.serial}" if self.serial else ""
        size = "" if self.size is None else size_of(self.size)
        known = ", ".join(filter(None, (size, self.model, serial)))
        return f"{self.name} ({known})" if known else self.name

    def partition(self, number: int) -> str:
        """Return the path of a partition: `sda1`, `nvme0n1p1`, `mmcblk0p1`."""
        return f"{self.path}{'p' if self.path[-1:].isdigit() else ''}{number}"

    def owns(self, path: str) -> bool:
        """Tell whether a path is of the disk itself, or of a partition of it."""
        return bool(re.fullmatch(re.escape(self.path) + _suffix(self.path), path))


def _suffix(disk: str) -> str:
    """Return a pattern of what a partition's path has after that of its disk, if anything."""
    # An emulated node has no partitions: its programs take where one begins.
    return rf"(?:{'p' if disk[-1:].isdigit() else ''}\d+|\?offset=\d+)?"


@dataclass(frozen=True, slots=True)
class DiskChoice:
    """What a configuration says of a node's disk: a path, or else hints.

    `setting` is what it says it in.
    """

    text: str
    path: str
    hints: tuple[str, ...]
    setting: str = "hard_drive"

    def __str__(self) -> str:
        return f"{self.setting} is {self.text}"

    @classmethod
    def read(cls, text: str, setting: str = "hard_drive") -> Self:
        """Read it; raises ValueError."""
        if not text or not text.isprintable():
            raise ValueError(text)
        hints = tuple(part.strip() for part in text.split(","))
        if "/" in text and not text.startswith(_TEXTS):
            return cls(text, text, (), setting)
        for hint in hints:
            if hint not in _SORTS:
                _filter(hint)
        if sum(hint in _SORTS for hint in hints) > 1:
            raise ValueError(text)
        return cls(text, "", hints, setting)

    def of(self, disks: Iterable[NodeDisk]) -> list[NodeDisk]:
        """Return the disks that the hints, or a path below /dev/disk, name."""
        left = list(disks)
        if self.path:
            link = self.path.removeprefix(BY_LINK)
            return [disk for disk in left if _has_link(disk, link)]
        for hint in self.hints:
            if hint not in _SORTS:
                is_so = _filter(hint)
                left = [disk for disk in left if is_so(disk)]
        for hint in self.hints:
            if hint in _SORTS and left:
                end = _SORTS[hint](disk.size or 0 for disk in left)
                left = [disk for disk in left if (disk.size or 0) == end]
        return left


def _has_link(disk: NodeDisk, link: str) -> bool:
    if link in disk.links:
        return True
    # udev's names have the whole model, the kernel's only the beginning of it.
    kind, _, rest = link.removeprefix("by-id/").partition("-")
    return (
        link.startswith("by-id/ata-")
        and kind == "ata"
        and bool(disk.serial and disk.model)
        and rest.startswith(disk.model.replace(" ", "_"))
        and rest.endswith(f"_{disk.serial}")
    )


def _filter(hint: str) -> Callable[[NodeDisk], bool]:
    """Return what tells whether a disk is so; raises ValueError for what is no hint."""
    match = re.fullmatch(r"([a-z]+)\s*(>=|<=|=)\s*(\S.*)", hint)
    if match is None:
        raise ValueError(hint)
    key, sign, value = match.groups()
    if key in _TEXTS and sign == "=":
        pattern = _pattern(value)
        return lambda disk: bool(pattern.fullmatch(_folded(getattr(disk, key))))
    if key == "size" and sign != "=":
        size = _bytes(value)
        if sign == ">=":
            return lambda disk: (disk.size or 0) >= size
        return lambda disk: (disk.size or 0) <= size
    if key == "rotational" and sign == "=" and value.lower() in _FLAGS:
        return lambda disk: disk.rotational is _FLAGS[value.lower()]
    raise ValueError(hint)


def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, _folded(value).split("*"))))


def _folded(text: str) -> str:
    """Return a text in one case, with spaces where udev has underscores, and 0x before a WWN."""
    return " ".join(text.replace("_", " ").casefold().split()).replace("naa.", "0x")


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)\s*([A-Z]*)", text.upper())
    if match is None or match[2] not in _UNITS:
        raise ValueError(text)
    return int(float(match[1]) * _UNITS[match[2]])


def read_drive(text: str) -> str:
    """Return a text that says which disk is meant; raises ValueError."""
    DiskChoice.read(text)
    return text


def read_partition(text: str) -> str:
    """Return a text that says which partition is meant; raises ValueError."""
    is_number = text.isdecimal() and 1 <= int(text) <= MOST_PARTITIONS
    if text != NONE and not is_number and "/" not in text:
        raise ValueError(text)
    return text


def partition_of(disk: NodeDisk, said: str, general: str) -> str:
    """Return the path of the partition of `disk` that a configuration names; empty for `none`.

    A number is that of the disk. A path that is a partition of the `general` disk, that of all
    nodes which have no other, stands for its number. Raises ValueError for one of another disk.
    """
    if said == NONE:
        return ""
    if said.isdecimal():
        return disk.partition(int(said))
    if disk.owns(said):
        return said
    match = re.fullmatch(re.escape(general) + f"({_suffix(general)})", said)
    if match is None or not match[1]:
        raise ValueError(said)
    suffix = match[1].removeprefix("p")
    return disk.path + suffix if suffix.startswith("?") else disk.partition(int(suffix))
