"""What a node says of its disks: how it is asked, in one line, and which disk a choice means there.

Asked are `ls` and `grep` of `/sys/block` and `/dev`, so that any ramdisk can answer. All is told
relative to the root, which an emulated node has in a directory of its own.
"""

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rhubarbe.dialogue.session import Line, Output, Transcript, marker
from rhubarbe.dialogue.sysfs import MOST_LINES, SECTOR, read_blocks, read_disks
from rhubarbe.disks import BY_LINK, DiskChoice, NodeDisk
from rhubarbe.errors import Refused

DISKS_MARK = "RHUBARBE-DISKS="
DEV = "/dev/"
NULL = (1, 3)
MOST_NAMED = 16
_ATTRIBUTES = (
    "*/size */*/size */dev */*/dev */ro */removable */hidden */serial */wwid */nsid"
    " */queue/rotational */queue/logical_block_size */device/model */device/serial */device/wwid"
    " */device/name */device/../../../ata_port/*/port_no"
)
_LISTED = re.compile(r"([-bcdlps])\S*\s+\d+\s+\S+\s+\S+\s+(?:(\d+),\s*(\d+)|(\d+))\s.*?(\S+)")
# How a ramdisk without /sys calls its disks.
_USUAL = re.compile(r"[shv]d[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+")


def list_disks(path: str) -> str:
    """Return the commands that tell of the node's disks, and of what is at `path`, if any."""
    target = f"ls -lLd {shlex.quote('./' + path)} 2>/dev/null; " if path else ""
    return (
        f"m={marker(DISKS_MARK)}; cd /; echo ${{m}}root $PWD; {target}echo ${{m}}mounts;"
        " grep /dev/ /proc/mounts; echo ${m}dev; ls -lL dev 2>/dev/null | grep '^[-b]';"
        " echo ${m}block; ls -l sys/block; echo ${m}sys;"
        f" cd sys/block && {{ grep -Hs . {_ATTRIBUTES}; for f in */device/vpd_pg80;"
        ' do [ -f "$f" ] && echo "$f:$(tail -c +5 "$f" | tr -cd "[ -~]")"; done; }; true'
    )


class DisksTranscript(Transcript):
    """A session that tells of disks, in sections; its lines are no news for anybody."""

    def __init__(self) -> None:
        super().__init__()
        self.root = "/"
        self.sections: dict[str, list[str]] = {}
        self._section: list[str] = []
        self._count = 0

    def whole(self, line: str) -> Iterator[Output]:
        """Take a line."""
        self._count += 1
        before, mark, rest = line.partition(DISKS_MARK)
        if mark and not before:
            name, _, root = rest.partition(" ")
            self.root = root or self.root
            self._section = self.sections.setdefault(name, [])
        elif not self.sections:
            yield Line(line)
        elif self._count < MOST_LINES:
            self._section.append(line)


class _Listed:
    """A line of `ls -l`: what kind of thing that is, and how large."""

    def __init__(self, line: str) -> None:
        match = _LISTED.fullmatch(line)
        self.kind = match[1] if match else ""
        self.name = match[5] if match else ""
        self.number = (int(match[2]), int(match[3])) if match and match[2] else None
        self.size = int(match[4]) if match and match[4] else None


class NodeDisks:
    """The disks of one node, as it tells them."""

    def __init__(self, told: DisksTranscript) -> None:
        sections = told.sections
        self._root = told.root.rstrip("/")
        self._target = _Listed("\n".join(sections.get("root", [])[:1]))
        self._mounts = [line.split()[:2] for line in sections.get("mounts", []) if " " in line]
        listed = map(_Listed, sections.get("dev", []))
        self._devices = {each.name: each for each in listed}
        self._blocks = read_blocks(sections.get("block", []), sections.get("sys", []))
        self._disks = read_disks(self._blocks, self._node) or self._usual()

    def _node(self, name: str) -> str:
        path = f"{DEV}{name.replace('!', '/')}"
        return path.lstrip("/") if self._root else path  # from where sessions start there

    def _usual(self) -> list[NodeDisk]:
        return [
            NodeDisk(name, self._node(name))
            for name, each in sorted(self._devices.items())
            if each.kind == "b" and _USUAL.fullmatch(name)
        ]

    def __str__(self) -> str:
        return named(self._disks) or "no disk"

    def choose(self, choice: DiskChoice) -> NodeDisk:
        """Return the disk that is meant; raises Refused, which names the disks that there are."""
        if choice.path and self._target.kind:
            return self._at(choice)
        if choice.path and not choice.path.startswith(BY_LINK):
            if self._is_among_devices(choice.path):
                raise Refused(f"{choice}; the node has {self}")
            return NodeDisk(posixpath.basename(choice.path), choice.path)  # a file, to be made
        found = choice.of(self._disks)
        if len(found) != 1:
            which = f"{len(found)} disks of the node" if found else "no disk of the node"
            raise Refused(f"{choice}: {which}; it has {self}{self._links(choice)}")
        return self._with_node(found[0])

    def _links(self, choice: DiskChoice) -> str:
        if not choice.path:
            return ""
        by = choice.path.removeprefix(BY_LINK).partition("/")[0]
        known = [
            f"{disk.name} is {link}"
            for disk in self._disks
            for link in disk.links[:MOST_NAMED]
            if link.startswith(by)
        ]
        return f"; by what is known of them, {', '.join(known[:MOST_NAMED])}" if known else ""

    def _with_node(self, disk: NodeDisk) -> NodeDisk:
        """Make sure that the disk can be opened by its name."""
        if not self._has_node(disk):
            raise Refused(f"the node has {disk}, but {disk.path} is not that disk: is /dev filled?")
        if self._root:  # a disk of an emulated node is a file
            return replace(disk, size=self._devices[disk.name].size)
        return disk

    def _has_node(self, disk: NodeDisk) -> bool:
        node = self._devices.get(disk.name)
        if node is None or self._root:
            return bool(node) or "!" in disk.name
        return node.kind == "b" and self._number(disk) in (None, node.number)

    def _number(self, disk: NodeDisk) -> tuple[int, int] | None:
        block = self._blocks.get(disk.name)
        return block.device if block else None

    def _at(self, choice: DiskChoice) -> NodeDisk:
        """Return what is at a path, as far as the node knows it."""
        target = self._target
        path = self._absolute(choice.path)
        name = posixpath.basename(path)
        if target.kind == "b":
            disk = self._device_at(path, name)
            if disk.size == 0:
                raise Refused(f"{choice}, which is empty; the node has {self}")
            return disk
        if target.kind == "c" and target.number == NULL:
            return NodeDisk(name, path)
        if target.kind != "-" or (not self._root and self._is_among_devices(path)):
            raise Refused(f"{choice}, which is no disk; the node has {self}")
        if self._root and self._place(path) == f"{DEV}{name}":
            for disk in self._disks:
                if disk.name == name:
                    return self._with_node(disk)
        return NodeDisk(name, path, size=target.size)

    def _device_at(self, path: str, name: str) -> NodeDisk:
        number = self._target.number
        for disk in self._disks:
            if self._number(disk) == number:
                return disk if self._has_node(disk) else replace(disk, path=path)
        for block in self._blocks.values():  # a partition, RAID or volume, if a path names one
            sectors = block.partitions.get(number) if number else None
            if block.device == number:
                sectors = block.number("size")
            if sectors is not None:
                size = block.number("queue/logical_block_size")
                return NodeDisk(name, path, size=sectors * SECTOR, sector_size=size)
        return NodeDisk(name, path)

    def _absolute(self, path: str) -> str:
        """Return a path that means the same wherever a session starts."""
        if self._root and not path.startswith("/"):
            return path  # where sessions start on an emulated node
        return f"{self._root}/{path.lstrip('/')}"

    def _is_among_devices(self, path: str) -> bool:
        """Whether it is below /dev, and in none of what is mounted there."""
        place = self._place(path)
        others = (mount[1] for mount in self._mounts if mount[1].startswith(DEV))
        return place.startswith(DEV) and not any(place.startswith(f"{at}/") for at in others)

    def _place(self, path: str) -> str:
        """Return a path as it is from the node's root on."""
        return posixpath.normpath("/" + path.removeprefix(self._root).lstrip("/"))

    def mount_of(self, disk: NodeDisk) -> str:
        """Say which part of a disk is mounted, and where; nothing where none is."""
        for source, place in self._mounts:
            if source.startswith("/") and disk.owns(source):
                return f"{source} is mounted on {place}"
        return ""


def named(disks: Iterable[NodeDisk]) -> str:
    """Name disks, but not hundreds."""
    words = [str(disk) for disk in disks]
    rest = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
