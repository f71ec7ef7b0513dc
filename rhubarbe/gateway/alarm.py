"""Work that ends at once when something else fails."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


async def unless(alarm: Coroutine[Any, Any, NoReturn], work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; where `alarm` raises first, cancel the work and raise that.

    `alarm` never returns. Errors come out as they are, not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(alarm)
            result = await work
            watch.cancel()
            return result
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
