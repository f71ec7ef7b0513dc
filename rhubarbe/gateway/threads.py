"""Blocking work in threads: never left alone by who is cancelled, or given up after a while."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

from rhubarbe.errors import GatewayError

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


async def in_passing(
    seconds: float | None, work: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Result:
    """Do work on a disk that may never answer; raises TimeoutError, GatewayError.

    Without a limit in seconds, until that is cancelled. The thread is then left alone, and keeps
    this process from its end no more than the loop: those of the loop's own are waited for.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Result] = loop.create_future()

    def tell(result: Result | None, error: BaseException | None) -> None:
        if ended.done():  # given up
            return
        if error is None:
            ended.set_result(result)  # type: ignore[arg-type]
        else:
            ended.set_exception(error)

    def run() -> None:
        result, fault = None, None
        try:
            result = work(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            fault = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, result, fault)

    try:
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError as error:
        raise GatewayError(f"this machine cannot do more: {error}") from error
    async with asyncio.timeout(seconds):
        return await ended
