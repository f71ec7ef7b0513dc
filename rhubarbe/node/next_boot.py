"""A node's next boot: the link that makes it boot the ramdisk, made and removed in threads.

Its directory may be on another machine, which may never answer: so what touches it does so in a
thread, and is given up after a while.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from re import Pattern

from rhubarbe.concurrency.threads import in_passing, to_an_end
from rhubarbe.config import Settings
from rhubarbe.errors import GatewayError, why
from rhubarbe.inventory import DEFAULT_NETBOOT, Entry
from rhubarbe.shared.trust import Distrust
from rhubarbe.transports.netboot import NETBOOTS, Netboot, netboot_of

ANSWERS_WITHIN_S = 10.0


def link_places(
    entries: Iterable[Entry], settings: Settings
) -> Sequence[tuple[Path, Pattern[str]]]:
    """Return in which directories there may be links of these nodes, and what they are called.

    Among them is the one that most nodes have, whether or not these do.
    """
    usual = NETBOOTS.named(DEFAULT_NETBOOT.kind)
    places = [(settings.pxelinux.config_dir, usual.names)]
    for netboot in (netboot_of(entry, settings) for entry in entries):
        places.append((netboot.path.parent, netboot.names))
    return list(dict.fromkeys(places))


class NextBoot:
    """What makes one node boot the ramdisk, as a command holds it."""

    def __init__(self, link: Netboot) -> None:
        self._link = link

    @property
    def path(self) -> Path:
        """The link, be it there or not."""
        return self._link.path

    @property
    def entry(self) -> str:
        """Where it points."""
        return self._link.entry

    async def require_entry(self) -> None:
        """Check that the boot entry exists, before anything is touched; raises GatewayError."""
        entry = self.path.parent / self.entry
        lacks = f"{entry}: no such boot entry; see {self._link.said_by}"
        try:
            if await in_passing(ANSWERS_WITHIN_S, self._link.has_entry):
                return
        except Distrust as error:
            raise GatewayError(str(error)) from error
        except TimeoutError as error:
            raise GatewayError(f"{self.path.parent}: {error}; nothing was touched") from error
        except OSError as error:
            raise GatewayError(lacks) from error
        raise GatewayError(lacks)

    async def set(self) -> None:
        """Make the link, replacing at once whatever link there was; raises GatewayError.

        When cancelled, or given up, the link is removed, even if the thread makes it only later.
        """
        is_late = threading.Event()
        try:
            await to_an_end(ANSWERS_WITHIN_S, self._set, is_late)
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
        self._link.make()
        if is_late.is_set():
            self._link.remove()

    async def _take_back(self, is_late: threading.Event) -> None:
        """Remove the link; a thread that makes it later removes it itself, as `is_late` tells."""
        is_late.set()
        with contextlib.suppress(GatewayError):
            await self.remove()

    async def remove(self) -> None:
        """Remove the link, if it is one to our entry; raises GatewayError when it stays."""
        try:
            try:
                await to_an_end(ANSWERS_WITHIN_S, self._link.remove)
            except GatewayError:  # no thread can be started, but the link has to go
                self._link.remove()
        except FileNotFoundError:
            return
        except OSError as error:
            raise GatewayError(
                f"{self.path}: the nextboot link cannot be removed, do it by hand: {why(error)}"
            ) from error

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
            return await in_passing(ANSWERS_WITHIN_S, self._link.is_there)
        except TimeoutError as error:
            raise GatewayError(f"{self.path}: {error}") from error
