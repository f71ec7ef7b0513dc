"""One nextboot link on the disk, which makes a node boot on a boot entry.

It points to the relative name of the entry in the same directory. A dangling link is a link. The
directory must be root's or ours: whoever owns it makes the nodes boot anything. All this waits for
the disk.
"""

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import Pattern

from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import leads_to_file
from rhubarbe.shared.trust import Distrust, is_ours, name_of


@dataclass(frozen=True, slots=True)
class Seen:
    """That a node is made to boot an entry, since when (in seconds since the epoch), by whom.

    Where `is_link` is false, something else is in the place of the link.
    """

    entry: str
    since: float
    uid: int
    is_link: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """The link of one node, at its `path`, towards one boot entry.

    Links that another command left behind are removed if they are called as `names` has it.
    Users are told by `said_by` where it is said which entry that is. What cannot be done raises
    Distrust, or another OSError.
    """

    path: Path
    entry: str
    names: Pattern[str]
    said_by: str

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

    def try_out(self) -> None:
        """Make another link there, and remove it; look what is in the place of ours."""
        with self._directory() as directory:
            directory.try_link(self.entry)
            _require_replaceable(directory, self.path.name)

    def make(self) -> None:
        """Make the link, at once in place of whatever link there was, but of nothing else."""
        with self._directory() as directory:
            _require_link(directory, self.path.name)
            directory.set_link(self.path.name, self.entry)

    def remove(self) -> None:
        """Remove the link, if it is one to our entry."""
        with self._directory() as directory:
            _require_link(directory, self.path.name)
            if directory.link_at(self.path.name) == self.entry:
                directory.unlink(self.path.name)

    def seen(self) -> Seen | None:
        """Return where any link leads, since when and by whom; None where nothing is.

        Anything else in its place has the node boot by what is in it.
        """
        name = self.path.name
        with contextlib.suppress(FileNotFoundError), self._directory() as directory:
            status = directory.status_of(name)
            is_link = stat.S_ISLNK(status.st_mode)
            entry = directory.link_at(name) if is_link else f"{name}, which is no link,"
            return None if entry is None else Seen(entry, status.st_mtime, status.st_uid, is_link)
        return None

    def is_there(self) -> bool:
        """Tell whether there is a link, dangling or not, or anything in its place."""
        try:
            with self._directory() as directory:
                directory.status_of(self.path.name)
        except OSError:
            return False
        return True


def dashed(mac: str) -> str:
    """Return a MAC address as names of links have it: with dashes, in lower case."""
    return mac.lower().replace(":", "-")


def _require_link(directory: Directory, name: str) -> os.stat_result | None:
    """Return the status of a link, None of nothing; raises Distrust for what else is there.

    That may be the operator's own boot file for the node, and nobody could give it back.
    """
    try:
        there = directory.status_of(name)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(there.st_mode):
        path = directory.where(name)
        aside = f"mv {shlex.quote(path)} {shlex.quote(path + '.kept')}"
        raise Distrust(f"{path}: is not a link that rhubarbe made: move it away; as root: {aside}")
    return there


def _require_replaceable(directory: Directory, name: str) -> None:
    """Raise Distrust for what no link of ours may, or can, take the place of."""
    there = _require_link(directory, name)
    if there is not None and not directory.lets_remove(there):
        path = directory.where(name)
        raise Distrust(
            f"{path}: belongs to {name_of(there.st_uid)}, and nobody else may remove it there;"
            f" as root: rm {shlex.quote(path)}"
        )
