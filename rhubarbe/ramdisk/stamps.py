"""The stamp of a system in `/etc/rhubarbe-image` on the node's disk: how it is added and read."""

import shlex
from collections.abc import Iterator

from rhubarbe.ramdisk.session import Output, Transcript, marker, plain

STAMP_MARK = "RHUBARBE-STAMP="
STAMP_FILE = "/etc/rhubarbe-image"
LONGEST_STAMP = 400


def stamp(partition: str, mount_point: str, line: str) -> str:
    """Return the commands that add a line to /etc/rhubarbe-image on an unmounted root partition.

    A ramdisk that has `mount` uses it, which replays the journal; one that has not needs debugfs.
    """
    device, mount, words = shlex.quote(partition), shlex.quote(mount_point), shlex.quote(line)
    say = f"printf '%s\\n' {words}"  # echo would interpret backslashes in some shells
    # What was mounted is unmounted whatever happens: imagezip reads this disk next.
    by_mount = (
        f"mount {device} {mount} && {{ {say} >> {mount}/etc/rhubarbe-image;"
        f" written=$?; umount {mount} && [ $written -eq 0 ]; }}"
    )
    by_debugfs = (
        f"debugfs -R 'dump /etc/rhubarbe-image stamp' {device} 2>/dev/null;"
        f" {say} >> stamp;"
        f" debugfs -w -R 'rm /etc/rhubarbe-image' {device} 2>/dev/null;"
        f" debugfs -w -R 'write stamp /etc/rhubarbe-image' {device} 2>/dev/null;"
        f" rm -f stamp;"
        f" debugfs -R 'cat /etc/rhubarbe-image' {device} 2>/dev/null | grep -qxF -e {words}"
    )
    return f"if command -v mount >/dev/null 2>&1; then {by_mount}; else {by_debugfs}; fi"


def read_stamp(disk: str, partition: str, mount_point: str) -> str:
    """Return the commands that tell the last stamp on a partition of `disk`, and change nothing.

    They fail where there is no filesystem that this ramdisk can read. The kernel is told of the
    partitions first: they may be those of what was on the disk before. Neither the journal of an
    ext filesystem (`noload`) nor that of others (`norecovery`) is replayed.
    """
    device, mount = shlex.quote(partition), shlex.quote(mount_point)
    tell = f"printf '%s\\n' {marker(STAMP_MARK)}\"$("  # echo would interpret backslashes
    by_mount = (
        f"blockdev --rereadpt {shlex.quote(disk)} && {{"
        f" mount -o ro,noload {device} {mount} 2>/dev/null"
        f" || mount -o ro,norecovery {device} {mount} 2>/dev/null"
        f" || mount -o ro {device} {mount}; }} && {{"
        f' {tell}tail -n 1 {mount}{STAMP_FILE} 2>/dev/null)"; umount {mount}; }}'
    )
    by_debugfs = (
        f"debugfs -R 'stat /etc' {device} 2>/dev/null | grep -q Inode &&"
        f" {tell}debugfs -R 'cat {STAMP_FILE}' {device} 2>/dev/null | tail -n 1)\""
    )
    return f"if command -v mount >/dev/null 2>&1; then {by_mount}; else {by_debugfs}; fi"


def last_stamp(text: str) -> str:
    """Return the last line of a file of stamps, as a StampTranscript has it; perhaps empty."""
    line = text.removesuffix("\n").rpartition("\n")[2]
    return plain(line.partition("\r")[0], LONGEST_STAMP)


class StampTranscript(Transcript):
    """A session that tells the last stamp on the disk; None as long as it has not."""

    def __init__(self) -> None:
        super().__init__()
        self.stamp: str | None = None

    def whole(self, line: str) -> Iterator[Output]:
        """Take a line: the stamp, or words."""
        before, mark, stamp = line.partition(STAMP_MARK)
        if mark and not before:
            self.stamp = plain(stamp, LONGEST_STAMP)
            return
        yield from super().whole(line)
