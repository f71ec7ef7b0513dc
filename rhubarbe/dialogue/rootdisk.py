"""Which disk a running system runs from, as it tells over ssh: another one may hold the same image.

Systems find their root by a UUID, which an older copy of the image on another disk has, too. Then
stamp and time of the boot are right, and the disk that was loaded is not the one that runs.
"""

from rhubarbe.dialogue.sysfs import MOST_LINES, identity, read_blocks
from rhubarbe.disks import NodeDisk

_DEV = "/dev/"

ROOT_DISK = (
    'while read -r a b n r m c; do [ "$m" = / ] && d=$n; done < /proc/self/mountinfo;'
    " p=$(readlink -f /sys/dev/block/$d) && cd $p && { [ ! -e partition ] || cd ..;"
    " n=${PWD##*/}; cd .. && grep -Hs . $n/serial $n/wwid $n/device/serial $n/device/wwid;"
    ' f=$n/device/vpd_pg80; [ ! -f $f ] || echo "$f:$(tail -c +5 $f | tr -cd "[ -~]")"; }; true'
)
"""The command: it prints attributes of the disk with the root, nothing where that is not one."""


def can_be_told(disk: NodeDisk) -> bool:
    """Whether a disk can be told from others: an emulated one cannot, by a system on it."""
    return disk.path.startswith(_DEV) and bool(disk.serial or disk.wwn)


def other_disk(meant: NodeDisk, answer: str) -> str:
    """Say which disk it is where the system runs from another than the one meant; else nothing.

    Nothing, too, where that cannot be told: a root on a RAID or in a volume, a disk without a name
    of its own.
    """
    blocks = read_blocks((), answer.splitlines()[:MOST_LINES])
    if len(blocks) != 1:
        return ""
    (block,) = blocks.values()
    serial, wwn = identity(block)
    pairs = [(serial, meant.serial), (wwn, meant.wwn)]
    known = [(there, here) for there, here in pairs if there and here]
    # Kernels do not agree on all names: one that is the same is enough.
    if not known or any(there == here for there, here in known):
        return ""
    return f"{block.name} ({known[0][0]}), not {meant}"
