"""Door to the boot server: the nextboot links that make pxelinux boot a node on the ramdisk.

A link is `<config_dir>/01-<mac with dashes, lower case>` and points to the relative name of a
boot entry in the same directory. A dangling link is a link. The directory must be root's or ours:
whoever owns it makes the nodes boot anything.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.errors import GatewayError, why
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import leads_to_file
from rhubarbe.shared.trust import Distrust, is_ours, name_of


class NextBoot:
    """The nextboot link of one node, by its control MAC address, towards one boot entry."""

    def __init__(self, config_dir: str | Path, mac: str, entry: str) -> None:
        self.path = Path(config_dir, f"01-{mac.lower().replace(':', '-')}")
        self.entry = entry

    @contextlib.contextmanager
    def _directory(self) -> Iterator[Directory]:
        """Open the directory; raises Distrust, or another OSError."""
        with Directory.open(self.path.parent, follows=True) as directory:
            owner = directory.status
            if not is_ours(owner):
                raise Distrust(
                    f"{directory.path} belongs to {name_of(owner.st_uid)};"
                    f" as root: chown root {directory.path}"
                )
            yield directory

    def require_entry(self) -> None:
        """Check that the boot entry exists, before anything is touched; raises GatewayError."""
        entry = self.path.parent / self.entry
        try:
            with self._directory() as directory:
                if leads_to_file(directory, self.entry):
                    return
        except Distrust as error:
            raise GatewayError(str(error)) from error
        except OSError:
            pass
        raise GatewayError(
            f"{entry}: no such boot entry; see frisbee_image and config_dir in [pxelinux]"
        )

    def set(self) -> None:
        """Make the link, replacing at once whatever link there was; raises GatewayError."""
        try:
            with self._directory() as directory:
                directory.set_link(self.path.name, self.entry)
        except OSError as error:
            raise GatewayError(
                f"{self.path}: the nextboot link cannot be made: {why(error)}"
            ) from error

    def remove(self) -> None:
        """Remove the link, if it is one to our entry; raises GatewayError when it stays."""
        try:
            with self._directory() as directory:
                if directory.link_at(self.path.name) == self.entry:
                    directory.unlink(self.path.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise GatewayError(
                f"{self.path}: the nextboot link cannot be removed, do it by hand: {why(error)}"
            ) from error

    @contextlib.contextmanager
    def linked(self, *, stays: bool = False) -> Iterator[None]:
        """Hold the link for the length of the context; it goes on every way out.

        Where it `stays`, it goes on every way out but the good one.
        """
        self.set()
        try:
            yield
        except BaseException:  # cancellation and signals are ways out too
            self.remove()
            raise
        if not stays:
            self.remove()

    @property
    def target(self) -> str | None:
        """The boot entry that the link points to; None where there is no link."""
        try:
            with self._directory() as directory:
                return directory.link_at(self.path.name)
        except OSError:
            return None

    @property
    def status(self) -> os.stat_result | None:
        """What the kernel says of the link; None where there is none."""
        try:
            with self._directory() as directory:
                return directory.status_of(self.path.name)
        except OSError:
            return None

    @property
    def is_set(self) -> bool:
        """Whether there is a link, dangling or not."""
        return self.status is not None
