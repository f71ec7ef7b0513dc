"""Blocking work in threads: waited for even when cancelled, or given up after a while."""

import _thread  # `threading` waits for a thread's start: for ever, where it has no memory for one
import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
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
        await _ended(running)
        raise


async def to_an_end(
    seconds: float, work: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Result:
    """Do work on a disk that may never answer, for at most so many seconds, even when cancelled.

    Raises TimeoutError, GatewayError. Work that is given up may be done later all the same.
    """
    end = time.monotonic() + seconds
    running = _started(work, *arguments)
    try:
        async with _limited(seconds):
            return await asyncio.shield(running)
    except asyncio.CancelledError:
        await _ended(running, end)
        raise


async def in_passing(
    seconds: float | None, work: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Result:
    """Do work on a disk that may never answer; raises TimeoutError, GatewayError.

    Without `seconds`, it goes on until the caller is cancelled.
    """
    async with _limited(seconds):
        return await _started(work, *arguments)


@asynccontextmanager
async def _limited(seconds: float | None) -> AsyncIterator[None]:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"no answer in {seconds:g} s") from None
        raise


async def _ended(running: asyncio.Future[Result], end: float = math.inf) -> None:
    """Wait for the end of the work, or until `end`, also when cancelled meanwhile."""
    while not running.done() and (left := end - time.monotonic()) > 0:
        with suppress(asyncio.CancelledError):  # one more cancellation does not end it sooner
            await asyncio.wait([running], timeout=None if end == math.inf else left)
    if running.done() and not running.cancelled():
        running.exception()  # retrieve it, or asyncio logs it as never retrieved


def _started(
    work: Callable[[*Arguments], Result], *arguments: *Arguments
) -> asyncio.Future[Result]:
    """Start a thread of its own, which may be left alone; raises GatewayError.

    Unlike the threads of the loop's own executor, it is not waited for at the end of the loop or of
    the process.
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
            ended.exception()  # retrieve it, or asyncio logs it as never retrieved

    def run() -> None:
        result, fault = None, None
        try:
            result = work(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            fault = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, result, fault)

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as error:
        raise GatewayError(f"this machine cannot do more: {error}") from error
    return ended
