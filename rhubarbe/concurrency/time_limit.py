"""Work on what others own, which may never end: given up after a while."""

import _thread  # a thread that may be left alone, and `threading` takes its time to import
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def within(seconds: float, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Do work that only reads, and return its result; raises TimeoutError if it takes longer.

    A read cannot be interrupted, say from a file system that another user serves: the thread is
    then left alone, and does not keep this process from its end.
    """
    results: list[Result] = []
    errors: list[BaseException] = []
    ended = _thread.allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            results.append(work(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            errors.append(error)
        finally:
            ended.release()

    _thread.start_new_thread(run, ())
    if not ended.acquire(timeout=seconds):
        raise TimeoutError(f"no answer in {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]
