"""What an emulated node shows of its disks in `sys/block`, as the kernel shows a disk of SATA."""

import shutil
from pathlib import Path

SECTOR = 512
PLACE = "devices/pci0000:00/0000:00:1f.2/ata{port}/host{host}/target{host}:0:0/{host}:0:0:0"


def show_disk(home: Path, name: str, size: int, number: int, *, sector_size: int = SECTOR) -> None:
    """Show the disk `name` of `size` bytes below a node's directory, whose serial has `number`."""
    rank = ord(name[-1]) - ord("a")
    sysfs = home / "sys"
    place = sysfs / PLACE.format(port=rank + 1, host=rank)
    block = place / "block" / name
    shutil.rmtree(place, ignore_errors=True)
    port = place.parent.parent.parent / "ata_port" / f"ata{rank + 1}"
    values = {
        block / "size": str(size // SECTOR),
        block / "dev": f"8:{16 * rank}",
        block / "ro": "0",
        block / "removable": "0",
        block / "queue/rotational": "0",
        block / "queue/logical_block_size": str(sector_size),
        place / "model": "EMULATED DISK",
        place / "wwid": f"naa.5{number:011d}{rank:04d}",
        port / "port_no": str(rank + 1),
    }
    for path, text in values.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    serial = f"EMU{number:02d}{name[-1].upper()}".encode()
    (place / "vpd_pg80").write_bytes(bytes([0, 0x80, 0, len(serial)]) + serial)
    (block / "device").symlink_to("../../../" + place.name)
    (sysfs / "block").mkdir(exist_ok=True)
    link = sysfs / "block" / name
    link.unlink(missing_ok=True)
    link.symlink_to(f"../{block.relative_to(sysfs)}")
