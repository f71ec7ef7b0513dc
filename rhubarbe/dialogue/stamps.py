"""The stamp of a system in `/etc/rhubarbe-image` on the node's disk: how it is added and shown."""

import shlex

from rhubarbe.text import sanitise

STAMP_FILE = "/etc/rhubarbe-image"
LONGEST_STAMP = 4000


def stamp(partition: str, mount_point: str, line: str) -> str:
    """Return the commands that add a line to /etc/rhubarbe-image on an unmounted root partition.

    A ramdisk that has `mount` uses it, which replays the journal; one that has not needs debugfs.
    """
    device, mount = shlex.quote(partition), shlex.quote(mount_point)
    say = "printf '%s\\n' \"$1\""  # echo would interpret backslashes in some shells
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
        f" debugfs -R 'cat /etc/rhubarbe-image' {device} 2>/dev/null | grep -qxF -e \"$1\" ||"
        # It prints its version first, then why it failed.
        f" {{ debugfs -R 'stat /etc' {device} 2>&1 >/dev/null | grep -v '^debugfs [0-9]'; false; }}"
    )
    # The words are typed once: they may be long.
    once = f"set -- {shlex.quote(line)}"
    return f"{once}; if command -v mount >/dev/null 2>&1; then {by_mount}; else {by_debugfs}; fi"


def last_stamp(text: str) -> str:
    """Return the last line of a file of stamps, perhaps empty, as far as it can be shown."""
    line = text.removesuffix("\n").rpartition("\n")[2]
    return sanitise(line.partition("\r")[0], LONGEST_STAMP)
