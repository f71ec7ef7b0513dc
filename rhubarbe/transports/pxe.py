"""Door to the boot server: the nextboot links that make pxelinux boot a node on the ramdisk.

A link is `<config_dir>/01-<mac with dashes, lower case>` and points to the relative name of a
boot entry in the same directory. A dangling link is a link. The directory must be root's or ours:
whoever owns it makes the nodes boot anything. It may be another machine's, which never answers: so
what touches it does so in a thread, for a while.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from rhubarbe.errors import GatewayError, why
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import leads_to_file
from rhubarbe.shared.threads import in_passing, to_an_end
from rhubarbe.shared.trust import Distrust, is_ours, name_of

ANSWERS_WITHIN = 10.0


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

    async def require_entry(self) -> None:
        """Check that the boot entry exists, before anything is touched; raises GatewayError."""
        entry = self.path.parent / self.entry
        lacks = f"{entry}: no such boot entry; see frisbee_image and config_dir in [pxelinux]"
        try:
            if await in_passing(ANSWERS_WITHIN, self._has_entry):
                return
        except Distrust as error:
            raise GatewayError(str(error)) from error
        except TimeoutError as error:
            raise GatewayError(f"{self.path.parent}: {error}; nothing was touched") from error
        except OSError as error:
            raise GatewayError(lacks) from error
        raise GatewayError(lacks)

    def _has_entry(self) -> bool:
        with self._directory() as directory:
            return leads_to_file(directory, self.entry)

    async def set(self) -> None:
        """Make the link, replacing at once whatever link there was; raises GatewayError.

        When cancelled, or given up, it is taken back, be it made only later.
        """
        is_late = threading.Event()
        try:
            await to_an_end(ANSWERS_WITHIN, self._set, is_late)
        except OSError as error:
            if isinstance(error, TimeoutError):
                await self._take_back(is_late)
            raise GatewayError(
                f"{self.path}: the nextboot link cannot be made: {why(error)}"
            ) from error
        except asyncio.CancelledError:
            await self._take_back(is_late)
            raise

    def _set(self, is_late: threading.Event) -> None:
        with self._directory() as directory:
            directory.set_link(self.path.name, self.entry)
        if is_late.is_set():
            self._remove()

    async def _take_back(self, is_late: threading.Event) -> None:
        """Remove what was made, now or by who makes it later: one of both sees the link."""
        is_late.set()
        with contextlib.suppress(GatewayError):
            await self.remove()

    async def remove(self) -> None:
        """Remove the link, if it is one to our entry; raises GatewayError when it stays."""
        try:
            try:
                await to_an_end(ANSWERS_WITHIN, self._remove)
            except GatewayError:  # there is no thread to be had, but the link has to go
                self._remove()
        except FileNotFoundError:
            return
        except OSError as error:
            raise GatewayError(
                f"{self.path}: the nextboot link cannot be removed, do it by hand: {why(error)}"
            ) from error

    def _remove(self) -> None:
        with self._directory() as directory:
            if directory.link_at(self.path.name) == self.entry:
                directory.unlink(self.path.name)

    @contextlib.asynccontextmanager
    async def linked(self, *, stays: bool = False) -> AsyncIterator[None]:
        """Hold the link for the length of the context; it goes on every way out.

        Where it `stays`, it goes on every way out but the good one.
        """
        await self.set()
        try:
            yield
        except BaseException:  # cancellation and signals are ways out too
            await self.remove()
            raise
        if not stays:
            await self.remove()

    async def is_set(self) -> bool:
        """Tell whether there is a link, dangling or not; raises GatewayError."""
        try:
            return await in_passing(ANSWERS_WITHIN, self.status) is not None
        except TimeoutError as error:
            raise GatewayError(f"{self.path}: {error}") from error

    def target(self) -> str | None:
        """Return the boot entry that the link points to; None where there is no link.

        This and `status` wait for the disk.
        """
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
