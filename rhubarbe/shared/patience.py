"""Work on what others own, which may never end: given up after a while."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def within(seconds: float, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Do work that only reads, and return its result; raises TimeoutError if it takes longer.

    A read cannot be interrupted, say from a file system that another user serves: the thread is
    then left alone, and does not keep this process from its end.
    """
    ended: queue.SimpleQueue[tuple[Result, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((work(*arguments), None))
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            ended.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
