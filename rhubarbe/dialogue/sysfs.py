"""What the lines of `/sys/block` say of disks, and how udev would call these, where none runs."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from rhubarbe.disks import NodeDisk
from rhubarbe.text import sanitise

SECTOR = 512
# More than the disks of any node take.
MOST_LINES = 4000
LONGEST = 100

Number = tuple[int, int]

_LINK = re.compile(r"l.* (\S+) -> (\S+)")
_VALUE = re.compile(r"([^/:\s]+)/([^:]+):(.*)")
_PCI = re.compile(r"/([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])(?=/)")
_SCSI = re.compile(r"/host(\d+)/target[\d:]+/\d+:(\d+:\d+:\d+)/block/")
_MMC = re.compile(r"/([^/]+)/mmc_host/")
# Places of disks on buses for which udev's names are not computed here.
_OTHER_BUS = re.compile(r"/(usb\d|end_device-|rport-|session\d)")
# What has a device, and is no disk: drives for discs and floppies, and hidden parts of a card.
_NO_DISK = re.compile(r"sr\d+|fd\d+|mtd.*|mmcblk\d+(boot\d+|rpmb|gp\d+)")


@dataclass(slots=True)
class BlockDevice:
    """One block device: where it is plugged in, its attributes, and its partitions' by number."""

    name: str
    place: str = ""
    values: dict[str, str] = field(default_factory=dict)
    partitions: dict[Number, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def number(self, name: str) -> int | None:
        """Return a value that is a whole number; None where it is none."""
        text = self[name]
        return int(text) if re.fullmatch(r"\d{1,18}", text) else None

    @property
    def device(self) -> Number | None:
        """Its device number, if it is told."""
        return _device(self["dev"])

    @property
    def is_disk(self) -> bool:
        """Whether it is a disk to choose: not empty, no loop device, RAID, volume, disc or card."""
        return (
            bool(self.number("size"))
            and self["hidden"] in ("", "0")
            and self["removable"] in ("", "0")
            and bool(self.place)
            and "/virtual/" not in self.place.replace("/virtual/nvme-subsystem/", "/")
            and not _NO_DISK.fullmatch(self.name)
        )


def _device(text: str) -> Number | None:
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    return (int(match[1]), int(match[2])) if match else None


def read_blocks(links: Iterable[str], values: Iterable[str]) -> dict[str, BlockDevice]:
    """Read lines of `ls -l /sys/block`, and of `NAME/ATTRIBUTE:VALUE`."""
    found: dict[str, BlockDevice] = {}
    for line in links:
        if match := _LINK.fullmatch(line):
            found[match[1]] = BlockDevice(match[1], match[2])
    for line in values:
        if match := _VALUE.fullmatch(line):
            block = found.setdefault(match[1], BlockDevice(match[1]))
            name = "port_no" if match[2].endswith("/port_no") else match[2]
            block.values.setdefault(name, sanitise(match[3], LONGEST))
    for block in found.values():
        for name in [each for each in block.values if each.endswith("/dev")]:
            device = _device(block[name])
            if device is not None:
                block.partitions[device] = block.number(name.replace("/dev", "/size")) or 0
    return found


def read_disks(blocks: dict[str, BlockDevice], path_of: Callable[[str], str]) -> list[NodeDisk]:
    """Return the disks among them, in the order of their names."""
    lowest: dict[str, int] = {}  # the number of the first SCSI host of each controller
    for block in blocks.values():
        if (scsi := _SCSI.search(block.place)) and (pci := _PCI.findall(block.place)):
            lowest[pci[-1]] = min(int(scsi[1]), lowest.get(pci[-1], int(scsi[1])))
    return [
        NodeDisk(
            name,
            path_of(name),
            size=(block.number("size") or 0) * SECTOR,
            sector_size=block.number("queue/logical_block_size") or SECTOR,
            model=block["device/model"] or block["device/name"],
            serial=_serial(block),
            wwn=_wwn(block),
            rotational={"0": False, "1": True}.get(block["queue/rotational"]),
            is_read_only=block["ro"] == "1",
            links=(*_ids(block), *_paths(block, lowest)),
        )
        for name, block in sorted(blocks.items())
        if block.is_disk
    ]


def identity(block: BlockDevice) -> tuple[str, str]:
    """Return serial number and WWN of a disk, each empty where it tells none."""
    return _serial(block), _wwn(block)


def _serial(block: BlockDevice) -> str:
    for name in ("device/serial", "serial", "device/vpd_pg80"):
        if block[name]:
            return block[name]
    names = block["device/wwid"].split()
    return names[-1] if len(names) > 1 and names[0].startswith("t10.") else ""


def _wwn(block: BlockDevice) -> str:
    """Return the name that is unique in the world, as lsblk shows it."""
    for name in (block["wwid"], block["device/wwid"]):
        if name.startswith("naa."):
            return "0x" + name.removeprefix("naa.")
        if name.startswith(("eui.", "nvme.", "uuid.")):
            return name
    return ""


def _ids(block: BlockDevice) -> Iterator[str]:
    """Yield its names in /dev/disk/by-id, but those by the whole model of an ATA disk."""
    wwn, serial = _wwn(block), _serial(block)
    if wwn.startswith("0x"):
        yield f"by-id/wwn-{wwn}"
        yield f"by-id/scsi-3{wwn[2:]}"
    kind = re.match(r"nvme|mmc|vd", block.name)
    if kind and kind[0] == "nvme":
        if wwn:
            yield f"by-id/nvme-{wwn}"
        name = f"by-id/nvme-{block['device/model']}_{serial}".replace(" ", "_")
        yield from (name, f"{name}_{block['nsid'] or 1}")
    elif kind and kind[0] == "mmc":
        yield f"by-id/mmc-{block['device/name']}_{serial}".replace(" ", "_")
    elif kind and serial:
        yield f"by-id/virtio-{serial}".replace(" ", "_")


def _paths(block: BlockDevice, lowest: dict[str, int]) -> Iterator[str]:
    """Yield its names in /dev/disk/by-path; none for a bus whose names are not computed here."""
    if _OTHER_BUS.search(block.place):
        return
    found = _PCI.findall(block.place)
    mmc = _MMC.search(block.place)
    if not found:
        if mmc:
            yield f"by-path/platform-{mmc[1]}"
        return
    pci = f"pci-{found[-1]}"
    if block.name.startswith("nvme"):
        yield f"by-path/{pci}-nvme-{block['nsid'] or 1}"
    elif port := block["port_no"]:
        yield from (f"by-path/{pci}-ata-{port}", f"by-path/{pci}-ata-{port}.0")
    elif scsi := _SCSI.search(block.place):
        yield f"by-path/{pci}-scsi-{int(scsi[1]) - lowest[found[-1]]}:{scsi[2]}"
    else:
        yield f"by-path/{pci}"
        if "/virtio" in block.place:
            yield f"by-path/virtio-{pci}"
