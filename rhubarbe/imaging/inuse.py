"""Whether a block device is in use: mounted, swapped to, or the base of what is."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC, SYSFS = Path("/proc"), Path("/sys")


def use_of(number: str, proc: Path = PROC, sysfs: Path = SYSFS) -> str:
    """Say what the device `number` (major:minor) is used for, itself or a partition of it.

    Nothing where it is not, as far as this can be read: the kernel knows of more, such as what is
    mounted in another namespace.
    """
    device = sysfs / "dev" / "block" / number
    names = {_name(number, sysfs): number}
    for each in device.glob("*/dev"):
        own = each.read_text().strip()
        names[_name(own, sysfs)] = own
    for uses in (_mounts(names, proc), _swaps(names, proc), _bases(names, device, sysfs)):
        for use in uses:
            return use
    return ""


def use_of_file(status: os.stat_result, proc: Path = PROC, sysfs: Path = SYSFS) -> str:
    """Say what a file is used for as the disk of a loop device; nothing where it is not."""
    for backing in sysfs.glob("block/loop*/loop/backing_file"):
        loop = backing.parent.parent
        try:
            found = os.stat(backing.read_text().rstrip("\n"))  # noqa: PTH116
            number = (loop / "dev").read_text().strip()
        except OSError:  # gone meanwhile
            continue
        same = (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)
        if same and (use := use_of(number, proc, sysfs)):
            return f"{loop.name} has it, {use}"
    return ""


def _name(number: str, sysfs: Path) -> str:
    return (sysfs / "dev" / "block" / number).resolve().name


def _mounts(names: dict[str, str], proc: Path) -> Iterator[str]:
    for line in (proc / "self" / "mountinfo").read_text(errors="replace").splitlines():
        words = line.split()
        source = Path(words[words.index("-") + 2])  # btrfs has numbers of its own
        if words[2] in names.values() or (source.is_absolute() and source.name in names):
            yield f"mounted on {words[4]}"


def _swaps(names: dict[str, str], proc: Path) -> Iterator[str]:
    for line in (proc / "swaps").read_text(errors="replace").splitlines()[1:]:
        if Path(line.split()[0]).name in names:
            yield f"swap on {line.split()[0]}"


def _bases(names: dict[str, str], device: Path, sysfs: Path) -> Iterator[str]:
    """Tell of what lies upon it: LVM, RAID, a filesystem of several disks, a loop device."""
    for name in sorted(names):
        for holder in [*device.glob("holders/*"), *device.glob(f"{name}/holders/*")]:
            yield f"part of {holder.name}"
        for filesystem in sysfs.glob(f"fs/btrfs/*/devices/{name}"):
            yield f"part of the mounted btrfs {filesystem.parent.parent.name}"
    for backing in sysfs.glob("block/loop*/loop/backing_file"):
        if _number_of(backing) in names.values():
            yield f"behind {backing.parent.parent.name}"


def _number_of(backing: Path) -> str:
    """Return the number of the device that a file names, nothing where it names none."""
    try:
        status = os.stat(backing.read_text().rstrip("\n"))  # noqa: PTH116
    except OSError:  # gone meanwhile
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if status.st_rdev else ""
