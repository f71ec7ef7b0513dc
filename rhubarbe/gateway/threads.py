"""Blocking work that is never left alone: whoever is cancelled meanwhile waits for its end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


async def to_the_end(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Do work on files of ours in a thread; when cancelled, raise that only once it has ended.

    A thread cannot be interrupted: it would make or write a file after its owner has cleaned up.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):  # once more does not make it quicker
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # who is cancelled does not ask for it
        raise
