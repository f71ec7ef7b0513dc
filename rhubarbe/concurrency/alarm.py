"""Work that ends at once when something else fails."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from rhubarbe.errors import RhubarbeError

T = TypeVar("T")


async def unless(alarm: Coroutine[Any, Any, NoReturn], work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; where `alarm` raises first, cancel the work and raise that.

    `alarm` never returns. A single error is raised as it is, not in a group; several RhubarbeErrors
    as one, with all their words; a group only where another error is among them.
    """
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(alarm)
            result = await work
            watch.cancel()
            return result
    except ExceptionGroup as group:
        raise _as_one(group) from None


def _as_one(group: ExceptionGroup) -> Exception:
    first, *others = group.exceptions
    if not others:
        return first
    if not all(isinstance(error, RhubarbeError) for error in group.exceptions):
        return group
    return type(first)("; ".join(dict.fromkeys(map(str, group.exceptions))))
