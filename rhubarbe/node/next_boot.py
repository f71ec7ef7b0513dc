"""A node's next boot: the links that make it boot the ramdisk, made and removed in threads.

Their directory may be on another machine, which may never answer: so what touches them does so in a
thread, and is given up after a while.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence

from rhubarbe.concurrency.threads import in_passing, to_an_end
from rhubarbe.errors import GatewayError, why
from rhubarbe.shared.trust import Distrust
from rhubarbe.transports.netboot import Link, Netboot

ANSWERS_WITHIN_S = 10.0


class NextBoot:
    """What makes one node boot the ramdisk, as a command holds it."""

    def __init__(self, netboot: Netboot) -> None:
        self._netboot = netboot
        self._may_be_asked_for = False

    @property
    def asks(self) -> bool:
        """Whether something else than links makes it boot the ramdisk, and has to be ended."""
        return self._netboot.asks

    @property
    def is_over(self) -> bool:
        """Whether nothing is asked for any more."""
        return not self._may_be_asked_for

    @property
    def links(self) -> Sequence[Link]:
        """The links, be they there or not: several, perhaps, or none."""
        return self._netboot.links

    async def require_entries(self) -> None:
        """Check that the boot entries exist, before anything is touched; raises GatewayError."""
        for link in self.links:
            await _require_entry(link)

    async def set(self) -> None:
        """Make the links, replacing at once whatever links there were; raises GatewayError.

        Where not all of it can be done, or this is cancelled, none stays that was made.
        """
        async with contextlib.AsyncExitStack() as undone:
            for link in self.links:
                await _make(link)
                undone.push_async_callback(_take_away, link)
            undone.push_async_callback(self._end)
            self._may_be_asked_for = True
            await self._netboot.begin()
            undone.pop_all()

    async def remove(self) -> None:
        """Remove the links, where they are to our entries; raises GatewayError when one stays."""
        async with contextlib.AsyncExitStack() as each:
            for link in self.links:
                each.push_async_callback(_take_away, link)
            each.push_async_callback(self._end)

    async def _end(self) -> None:
        await self._netboot.end()
        self._may_be_asked_for = False

    @contextlib.asynccontextmanager
    async def linked(self, *, stays: bool = False) -> AsyncIterator[None]:
        """Hold the links for the length of the context; they go on every way out.

        Where they `stay`, they go on every way out but the good one.
        """
        await self.set()
        try:
            yield
        except BaseException:  # cancellation and signals are ways out too
            await self.remove()
            raise
        if not stays:
            await self.remove()

    async def left(self) -> Sequence[Link]:
        """Return those of the links that are there, dangling or not; raises GatewayError."""
        return [link for link in self.links if await _is_there(link)]


async def _require_entry(link: Link) -> None:
    """Check that the entry of a link exists; raises GatewayError."""
    directory = link.path.parent
    lacks = f"{directory / link.entry}: no such boot entry; see {link.said_by}"
    try:
        if await in_passing(ANSWERS_WITHIN_S, link.has_entry):
            return
    except Distrust as error:
        raise GatewayError(str(error)) from error
    except TimeoutError as error:
        raise GatewayError(f"{directory}: {error}; nothing was touched") from error
    except OSError as error:
        raise GatewayError(lacks) from error
    raise GatewayError(lacks)


async def _make(link: Link) -> None:
    """Make a link; raises GatewayError.

    When cancelled, or given up, it is removed, even if the thread makes it only later.
    """
    is_late = threading.Event()

    def make() -> None:
        link.make()
        if is_late.is_set():
            link.remove()

    async def take_back() -> None:
        is_late.set()
        with contextlib.suppress(GatewayError):
            await _take_away(link)

    try:
        await to_an_end(ANSWERS_WITHIN_S, make)
    except OSError as error:
        if isinstance(error, TimeoutError):
            await take_back()
        raise GatewayError(
            f"{link.path}: the nextboot link cannot be made: {why(error)}"
        ) from error
    except asyncio.CancelledError:
        await take_back()
        raise


async def _take_away(link: Link) -> None:
    """Remove a link, if it is one to our entry; raises GatewayError when it stays."""
    try:
        try:
            await to_an_end(ANSWERS_WITHIN_S, link.remove)
        except GatewayError:  # no thread can be started, but the link has to go
            link.remove()
    except FileNotFoundError:
        return
    except OSError as error:
        raise GatewayError(
            f"{link.path}: the nextboot link cannot be removed, do it by hand: {why(error)}"
        ) from error


async def _is_there(link: Link) -> bool:
    try:
        return await in_passing(ANSWERS_WITHIN_S, link.is_there)
    except TimeoutError as error:
        raise GatewayError(f"{link.path}: {error}") from error
