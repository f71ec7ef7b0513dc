"""Notices when somebody writes to the image while it is brought to nodes."""

import asyncio
from typing import NoReturn

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.errors import ImageError
from rhubarbe.repository import OpenImage

LOOK_EVERY_S = 1.0


class Unchanged:
    """Watches an image for changes since it was checked; `edition` is that of then."""

    def __init__(self, image: OpenImage, edition: tuple[int, int]) -> None:
        self._image = image
        self._edition = edition
        self._has_changed = asyncio.Event()

    async def watch(self) -> None:
        """Look at it at intervals, until it has changed, or until cancelled."""
        while not await self._look():  # noqa: ASYNC110 - nothing would wake us
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> bool:
        if await in_passing(None, lambda: self._image.edition) != self._edition:
            self._has_changed.set()
        return self._has_changed.is_set()

    async def require(self) -> None:
        """Look at it now; raises ImageError where it has changed."""
        if await self._look():
            raise self._error

    async def alarm(self) -> NoReturn:
        """Wait until it was seen to have changed: raises ImageError."""
        await self._has_changed.wait()
        raise self._error

    @property
    def _error(self) -> ImageError:
        return ImageError(f"{self._image.path}: was changed while it was loaded")
