"""The disks of QEMU machines: how each is plugged in, and what a kernel calls it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECTORS = (512, 4096)
# Of each kind: the controller that all of them share, and what sits on it. NVMe and virtio disks
# are their own controllers.
_CONTROLLERS = {"sata": "ich9-ahci,id=sata", "scsi": "virtio-scsi-pci,id=scsi"}
_DEVICES = {
    "virtio": "virtio-blk-pci",
    "nvme": "nvme",
    "sata": "ide-hd,bus=sata.{place}",
    "scsi": "scsi-hd,bus=scsi.0,scsi-id={place}",
}
KINDS = tuple(_DEVICES)
MOST = 6  # ports of that controller for SATA


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk as a machine has it: what it is, its content, and the size of its sectors."""

    file: Path
    kind: str = "virtio"
    serial: str = ""
    sector: int = 512
    boot_order: int = 0  # 1 is booted first; 0 never


def words(drives: Sequence[Drive]) -> list[str]:
    """Return the options of QEMU that plug the disks in, in this order."""
    options: list[str] = []
    for kind, controller in _CONTROLLERS.items():
        if any(drive.kind == kind for drive in drives):
            options += ["-device", controller]
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
    device = _DEVICES[drive.kind].format(place=place)
    device += f",drive=disk{number},serial={value(drive.serial or f'disk{number}')}"
    if drive.sector != SECTORS[0]:
        device += f",logical_block_size={drive.sector},physical_block_size={drive.sector}"
    return device + (f",bootindex={drive.boot_order}" if drive.boot_order else "")
