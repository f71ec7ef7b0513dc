"""The disks of QEMU machines: what is asked for, how each is plugged in, what a kernel calls it."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rhubarbe.annexe.errors import Misused

MIB = 1 << 20
UNITS = {"M": MIB, "G": MIB << 10, "T": MIB << 20}
SECTORS = (512, 4096)
MOST = 4  # as many as there are places on IDE's cables, and ports of a USB controller
SERIAL = re.compile(r"[A-Za-z0-9_.-]{1,20}")  # as many characters as virtio and NVMe have room for


class DriveKind(NamedTuple):
    """A way to plug in a disk: QEMU's device for it, and that of the controller it sits on, if any.

    `name` is what Linux calls the first one.
    """

    device: str
    controller: str
    name: str


_SD = "/dev/sda"
KINDS: Mapping[str, DriveKind] = {
    "virtio": DriveKind("virtio-blk-pci", "", "/dev/vda"),
    "nvme": DriveKind("nvme", "", "/dev/nvme0n1"),
    "scsi": DriveKind("scsi-hd,bus=scsi.0,scsi-id={place}", "virtio-scsi-pci,id=scsi", _SD),
    "ide": DriveKind("ide-hd", "", _SD),
    "sata": DriveKind("ide-hd,bus=sata.{place}", "ich9-ahci,id=sata", _SD),
    "usb": DriveKind("usb-storage,bus=usb.0", "qemu-xhci,id=usb", _SD),
}
IN_CLOUDS = frozenset({"virtio", "nvme", "scsi", "ide"})
"""Those that Debian's kernel for clouds has drivers for."""
SMALL_SECTORS_ONLY = frozenset({"ide", "sata"})


@dataclass(frozen=True, slots=True)
class DriveWish:
    """One `--disk [NODE:]KIND[:SIZE][,serial=S][,sector=4096][,meant]`; no node is all others.

    `size` is in bytes, 0 for what the sample needs and a bit; the disk that is meant is what images
    are written to, and what the machine boots.
    """

    node: str
    kind: str
    size: int = 0
    serial: str = ""
    sector: int = SECTORS[0]
    is_meant: bool = False


USUAL = DriveWish("", "virtio", is_meant=True)


def parse(text: str) -> DriveWish:
    """Read a wish for a disk; raises Misused."""
    where, *options = text.split(",")
    match = re.fullmatch(
        rf"(?:([^:]+):)?({'|'.join(KINDS)})(?::([1-9][0-9]{{0,6}})([MGT]))?", where
    )
    if match is None:
        raise Misused(
            f"disk {text!r} is not of the form [NODE:]KIND[:SIZE][,serial=S][,sector=4096][,meant],"
            f" such as fit02:nvme:2G; a kind is one of {', '.join(KINDS)}"
        )
    node, kind, number, unit = match.groups()
    wish = DriveWish(node or "", kind, int(number) * UNITS[unit] if number else 0)
    for option in options:
        wish = _with(wish, option)
    if wish.sector != SECTORS[0] and kind in SMALL_SECTORS_ONLY:
        raise Misused(f"disk {text!r}: {kind} disks have sectors of {SECTORS[0]} bytes only")
    return wish


def _with(wish: DriveWish, option: str) -> DriveWish:
    name, _, value = option.partition("=")
    if option == "meant":
        return replace(wish, is_meant=True)
    if name == "serial" and SERIAL.fullmatch(value):
        return replace(wish, serial=value)
    if name == "sector" and value in map(str, SECTORS):
        return replace(wish, sector=int(value))
    raise Misused(f"disk option {option!r}: one of serial=S, sector=512, sector=4096, meant")


def by_node(wishes: Iterable[DriveWish], nodes: Iterable[str]) -> dict[str, list[DriveWish]]:
    """Return the disks of each node, one of which is meant; raises Misused.

    Without any wish a node has one virtio disk; where none is said to be meant, the first is.
    """
    wishes = list(wishes)
    known = list(nodes)
    for wish in wishes:
        if wish.node and wish.node not in known:
            raise Misused(f"a disk is for {wish.node}, which is not in this testbed")
    common = [wish for wish in wishes if not wish.node] or [USUAL]
    return {
        node: _checked(node, [wish for wish in wishes if wish.node == node] or common)
        for node in known
    }


def _checked(node: str, wishes: list[DriveWish]) -> list[DriveWish]:
    meant = sum(wish.is_meant for wish in wishes)
    if meant > 1:
        raise Misused(f"{node} has {meant} disks that are meant: one can be")
    (kind, count), *_ = Counter(wish.kind for wish in wishes).most_common()
    if count > MOST:
        raise Misused(f"{node} has {count} disks of kind {kind}: {MOST} can be")
    serials = [wish.serial for wish in wishes if wish.serial]
    if len(serials) > len(set(serials)):
        raise Misused(f"{node} has several disks with one serial number")
    if not meant:
        wishes = [replace(wishes[0], is_meant=True), *wishes[1:]]
    return [
        replace(wish, serial=wish.serial or f"{node}-{place}")
        for place, wish in enumerate(wishes, start=1)
    ]


def meant(wishes: Sequence[DriveWish]) -> str:
    """Return what names the disk that is meant: its path, where the kernel's order leaves one."""
    wish = next(wish for wish in wishes if wish.is_meant)
    alike = [other for other in wishes if KINDS[other.kind].name == KINDS[wish.kind].name]
    return KINDS[wish.kind].name if len(alike) == 1 else f"serial={wish.serial}"


def partition(disk: str) -> str:
    """Return what the first partition of a disk is called; where that is a hint, its number."""
    if not disk.startswith("/"):
        return "1"
    return f"{disk}p1" if disk[-1:].isdigit() else f"{disk}1"


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk as a machine has it: its content, what it is, and the size of its sectors."""

    file: Path
    kind: str = "virtio"
    serial: str = ""
    sector: int = SECTORS[0]
    boot_order: int = 0  # after what has lower numbers; 0 never


def words(drives: Sequence[Drive]) -> list[str]:
    """Return the options of QEMU that plug the disks in, in this order."""
    options: list[str] = []
    for kind in dict.fromkeys(drive.kind for drive in drives):
        if KINDS[kind].controller:
            options += ["-device", KINDS[kind].controller]
    places: Counter[str] = Counter()
    for number, drive in enumerate(drives):
        file = value(drive.file)
        options += ["-drive", f"file={file},format=raw,if=none,id=disk{number},cache=unsafe"]
        options += ["-device", _device(drive, number, places[drive.kind])]
        places[drive.kind] += 1
    return options


def value(text: object) -> str:
    """Return a text as QEMU reads it among options that commas part."""
    return str(text).replace(",", ",,")


def _device(drive: Drive, number: int, place: int) -> str:
    device = f"{KINDS[drive.kind].device.format(place=place)},drive=disk{number}"
    device += f",serial={value(drive.serial or f'disk{number}')}"
    if drive.sector != SECTORS[0]:
        device += f",logical_block_size={drive.sector},physical_block_size={drive.sector}"
    return device + (f",bootindex={drive.boot_order}" if drive.boot_order else "")
