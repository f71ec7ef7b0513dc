"""Again and again: until something works, or for as long as it may take."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable


async def backoff(mean: float) -> AsyncIterator[int]:
    """Yield 0, 1, 2, ... at once, then each after a random pause around `mean` seconds."""
    for attempt in itertools.count():
        yield attempt
        await asyncio.sleep(mean * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


async def happens(
    is_done: Callable[[], Awaitable[bool]], limit_s: float, interval_s: float
) -> bool:
    """Tell whether something is done within `limit_s` seconds; look every `interval_s` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while True:
                if await is_done():
                    return True
                await asyncio.sleep(interval_s)
    return False
