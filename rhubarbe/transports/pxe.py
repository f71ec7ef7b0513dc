"""Door to the boot server: the nextboot links that make pxelinux boot a node on the ramdisk.

A link is `<config_dir>/01-<mac with dashes, lower case>` and points to the relative name of a
boot entry in the same directory. A dangling link is a link.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.errors import GatewayError, why


class NextBoot:
    """The nextboot link of one node, by its control MAC address, towards one boot entry."""

    def __init__(self, config_dir: str | Path, mac: str, entry: str) -> None:
        self.path = Path(config_dir, f"01-{mac.lower().replace(':', '-')}")
        self.entry = entry

    def require_entry(self) -> None:
        """Check that the boot entry exists, before anything is touched; raises GatewayError."""
        entry = self.path.parent / self.entry
        if not entry.is_file():
            raise GatewayError(
                f"{entry}: no such boot entry; see frisbee_image and config_dir in [pxelinux]"
            )

    def set(self) -> None:
        """Make the link, replacing at once whatever link there was; raises GatewayError."""
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            draft.symlink_to(self.entry)
            draft.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):  # read-only: there is none
                draft.unlink()
            raise GatewayError(
                f"{self.path}: the nextboot link cannot be made: {why(error)}"
            ) from error

    def remove(self) -> None:
        """Remove the link, if it is one to our entry; raises GatewayError when it stays."""
        try:
            if self.path.readlink() == Path(self.entry):
                self.path.unlink()
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
            return os.fspath(self.path.readlink())
        except OSError:
            return None

    @property
    def is_set(self) -> bool:
        """Whether there is a link, dangling or not."""
        return os.path.lexists(self.path)
