"""Whether a block device is in use: mounted, swapped to, or the base of what is."""

import os
import stat
from pathlib import Path

from rhubarbe.frisbee.errors import TransferFailed


def refuse_if_in_use(path: str, proc: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> None:
    """Refuse to write to a block device that is in use, itself or one of its partitions.

    Raises:
        TransferFailed: it is; the message says what for.

    """
    try:
        status = os.stat(path)  # noqa: PTH116 - `-` is no path
    except OSError:
        return
    if stat.S_ISBLK(status.st_mode):
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        use = use_of(number, proc, sysfs)
        if use:
            raise TransferFailed(f"{path} is in use ({use}); --force writes to it all the same")


def use_of(number: str, proc: Path, sysfs: Path) -> str:
    """Say what the device ``number`` (major:minor) is used for; nothing when it is not."""
    device = sysfs / "dev" / "block" / number
    numbers = {number} | {each.read_text().strip() for each in device.glob("*/dev")}
    names = {(sysfs / "dev" / "block" / each).resolve().name for each in numbers}
    for line in (proc / "self" / "mountinfo").read_text().splitlines():
        words = line.split()
        source = Path(words[words.index("-") + 2])  # btrfs has numbers of its own
        if words[2] in numbers or (source.is_absolute() and source.name in names):
            return f"mounted on {words[4]}"
    for line in (proc / "swaps").read_text().splitlines()[1:]:
        if Path(line.split()[0]).name in names:
            return f"swap on {line.split()[0]}"
    for each in sorted(names):
        holders = [*device.glob("holders/*"), *device.glob(f"{each}/holders/*")]
        if holders:
            return f"part of {holders[0].name}"
    return ""
