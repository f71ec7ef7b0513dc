"""One nextboot link on the disk, by which pxelinux boots a node on a boot entry.

It is `<config_dir>/01-<mac with dashes, lower case>` and points to the relative name of a boot
entry in the same directory. A dangling link is a link. The directory must be root's or ours:
whoever owns it makes the nodes boot anything. All this waits for the disk.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import leads_to_file
from rhubarbe.shared.trust import Distrust, is_ours, name_of


class Link:
    """The link of one node, by its control MAC address, towards one boot entry.

    What cannot be done raises Distrust, or another OSError.
    """

    def __init__(self, config_dir: str | Path, mac: str, entry: str) -> None:
        self.path = Path(config_dir, f"01-{mac.lower().replace(':', '-')}")
        self.entry = entry

    @contextlib.contextmanager
    def _directory(self) -> Iterator[Directory]:
        with Directory.open(self.path.parent, follows=True) as directory:
            owner = directory.status
            if not is_ours(owner):
                raise Distrust(
                    f"{directory.path} belongs to {name_of(owner.st_uid)};"
                    f" as root: chown root {directory.path}"
                )
            yield directory

    def has_entry(self) -> bool:
        """Tell whether there is such a boot entry."""
        with self._directory() as directory:
            return leads_to_file(directory, self.entry)

    def make(self) -> None:
        """Make the link, at once in place of whatever link there was."""
        with self._directory() as directory:
            directory.set_link(self.path.name, self.entry)

    def remove(self) -> None:
        """Remove the link, if it is one to our entry."""
        with self._directory() as directory:
            if directory.link_at(self.path.name) == self.entry:
                directory.unlink(self.path.name)

    def target(self) -> str | None:
        """Return the boot entry that the link points to; None where there is no link."""
        try:
            with self._directory() as directory:
                return directory.link_at(self.path.name)
        except OSError:
            return None

    def status(self) -> os.stat_result | None:
        """Return what the kernel says of the link; None where there is none."""
        try:
            with self._directory() as directory:
                return directory.status_of(self.path.name)
        except OSError:
            return None
