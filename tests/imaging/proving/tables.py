"""Partition tables made by sfdisk, and what sfdisk, sgdisk, wipefs, blkid and mdadm say of disks.

A disk has a partition of some kind, a gap, a small raw partition that marks the end, and some free
space. What lies before the first partition of an MBR is a boot loader.
"""

import random
import re
import shutil
from dataclasses import dataclass

from proving.places import MIB, Place, ask, run, sparse, try_run

EDGE_MIB = 4
BOOT_CODE = 440
TAIL_MIB = 9


@dataclass(frozen=True)
class Disk:
    """A disk in a file: its size, and where its partitions are, in bytes."""

    path: object
    size: int
    sector: int
    label: str
    partitions: dict[int, tuple[int, int]]

    @property
    def whole(self):
        return Place(self.path, 0, self.size, self.sector)

    @property
    def end(self):
        """Where the last partition ends."""
        return max(start + size for start, size in self.partitions.values())

    @property
    def backup(self):
        """How many bytes the backup table of a GPT takes."""
        return (1 + max(16384 // self.sector, 1)) * self.sector if self.label == "gpt" else 0

    def place(self, number):
        return Place(self.path, *self.partitions[number], self.sector)

    def on(self, path):
        """Return the same disk in another file, which may be of another size."""
        return Disk(path, path.stat().st_size, self.sector, self.label, self.partitions)


def _mbr(kind, sector):
    unit = MIB // sector
    edge = (1 + kind.mib + 3) * unit + 24
    script = (
        f"label: dos\nstart={unit}, size={kind.mib * unit}, type={kind.types[0]}, bootable\n"
        f"start={edge}, size={EDGE_MIB * unit - 7}, type=da\n"
    )
    return script, {1: (unit, kind.mib * unit), 2: (edge, EDGE_MIB * unit - 7)}


def _logical(kind, sector):
    """Lay out four entries in use, and two logical partitions in the last of them."""
    unit = MIB // sector
    first, inner = 4 * unit, 5 * unit
    edge = inner + (kind.mib + 2) * unit + 16
    size = EDGE_MIB * unit - 7
    script = (
        f"label: dos\nstart={unit}, size={unit}, type=da\n"
        f"start={2 * unit}, size={unit}, type=da, bootable\n"
        f"start={3 * unit}, size={unit // 2}, type=da\n"
        f"start={first}, size={edge + size - first}, type=5\n"
        f"start={inner}, size={kind.mib * unit}, type={kind.types[0]}\n"
        f"start={edge}, size={size}, type=da\n"
    )
    numbered = {1: (unit, unit), 2: (2 * unit, unit), 3: (3 * unit, unit // 2)}
    return script, numbered | {5: (inner, kind.mib * unit), 6: (edge, size)}


def _gpt(kind, sector):
    unit = MIB // sector
    edge = (1 + kind.mib + 3) * unit + 24
    script = (
        f"label: gpt\nstart={unit}, size={kind.mib * unit}, type={kind.types[1]},"
        ' name="r\u00f6\u00f6t", attrs="RequiredPartition,GUID:60"\n'
        f'start={edge}, size={EDGE_MIB * unit - 7}, type=L, name="edge"\n'
    )
    return script, {1: (unit, kind.mib * unit), 2: (edge, EDGE_MIB * unit - 7)}


def _none(kind, sector):
    return "", {0: (0, kind.mib * MIB // sector)}


TABLES = {"mbr": (_mbr, 1), "logical": (_logical, 5), "gpt": (_gpt, 1), "none": (_none, 0)}
"""How each is made, and the number of the partition that is of the kind: 0, the whole disk."""

LABELS = {"gpt": "gpt", "none": "none"}


def make_disk(path, table, kind, sector):
    """Make the table, and a boot loader, on an empty disk."""
    script, places = TABLES[table][0](kind, sector)
    numbered = {number: (a * sector, b * sector) for number, (a, b) in places.items()}
    end = max(start + size for start, size in numbered.values())
    size = (end + TAIL_MIB * MIB) // MIB * MIB + 3 * sector if script else end
    disk = Disk(path, size, sector, LABELS.get(table, "dos"), numbered)
    if not script:
        sparse(path, size)
        return disk
    boot = random.Random(7).randbytes(MIB)
    with path.open("wb") as file:
        file.write(boot[:BOOT_CODE] if table == "gpt" else boot)
        file.truncate(size)
    with disk.whole.device(writable=True) as device:
        run("sfdisk", "-q", "--no-reread", "--wipe", "never", device, input=script)
    return disk


def _signatures(device, size, sector):
    """Return what wipefs finds; the backup of a GPT counts from the end."""
    found = ask(device, "wipefs", "-n", "-p", device)
    return found.replace(f"{size - sector:#x},", "last,")


def tell_signatures(place):
    """Return what is found in a partition, or on a disk, by all that look for signatures."""
    with place.device() as device:
        said = {
            "wipefs": _signatures(device, place.size, place.sector),
            "blkid": ask(device, "blkid", "-p", "-o", "export", device, among=(0, 2)),
        }
        if shutil.which("mdadm"):
            examine = ("mdadm", "--examine", device)  # which tells a protective MBR's size too
            said["mdadm"] = ask(device, *examine, among=(0, 1), drop=r"^Partition.*type ee")
        return said


def _tell_of_gpt(device):
    """Return what sgdisk says; it must find both tables, and the backup one at the disk's end."""
    verified = try_run("sgdisk", "-v", device)
    is_sound = "No problems found" in verified.stdout
    return "no problems" if is_sound else verified.stdout + verified.stderr


def _listed(device):
    """Return what sgdisk lists: number, start, end, type and name of each partition."""
    done = try_run("sgdisk", "-p", device)
    rows = done.stdout.partition("Number ")[2].splitlines()[1:]
    guid = re.search("GUID\\): (.*)", done.stdout)
    return "\n".join([guid[1] if guid else done.stdout + done.stderr, *rows])


def tell_table(disk):
    """Return what the tools say of a disk's table; what depends on the disk's size is left out."""
    if disk.label == "none":
        return {}
    with disk.whole.device() as device:
        dump = ask(device, "sfdisk", "-d", device, drop="^last-lba|^device:|^grain")
        last = re.search(r"last-lba: (\d+)", run("sfdisk", "-d", device))
        verify = ask(
            device,
            "sfdisk",
            "--verify",
            device,
            drop="unallocated|free sectors|Total allocated sectors",
        )
        said = {"sfdisk -d": dump, "sfdisk --verify": verify}
        if disk.label == "gpt":
            rest = disk.size // disk.sector - int(last[1])
            said |= {"last usable": f"{rest} before the end", "sgdisk -v": _tell_of_gpt(device)}
            said |= {"sgdisk -p": _listed(device)}
    with disk.path.open("rb") as file:
        boot = min(start for start, _ in disk.partitions.values())
        said["boot loader"] = file.read(BOOT_CODE if disk.label == "gpt" else boot).hex()
    return said


def tell_backup(disk):
    """Return what sgdisk lists when the primary table of a GPT is lost; destroys it."""
    with disk.whole.device(writable=True) as device:
        with open(device, "r+b") as file:  # noqa: PTH123
            file.seek(disk.sector)
            file.write(bytes(disk.sector * 5))
        return _listed(device)
