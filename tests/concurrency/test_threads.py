"""Who is cancelled while a thread works on files waits for its end."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from rhubarbe.concurrency.threads import to_the_end
from rhubarbe.gateway.state.journal import Journal


async def test_it_returns_what_the_work_returns():
    assert await to_the_end(divmod, 7, 2) == (3, 1)


async def test_errors_come_out_as_they_are():
    with pytest.raises(ZeroDivisionError):
        await to_the_end(divmod, 7, 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_cancelled_twice_it_still_waits_for_the_end(fails):
    began, go_on, done = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def work():
        loop.call_soon_threadsafe(began.set)
        go_on.wait(10)
        done.append("done")
        if fails:
            raise OSError

    async with asyncio.TaskGroup() as group:
        task = group.create_task(to_the_end(work))
        await began.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        loop.call_later(0.05, go_on.set)
        await asyncio.wait([task])
    assert task.cancelled()
    assert done == ["done"]


async def test_a_command_that_ends_while_it_notes_a_link_leaves_no_note(tmp_path, monkeypatch):
    """As chaos found with seed 81: the note was written when its owner had cleaned up."""
    journal = Journal(tmp_path, "load", 60)
    began, go_on, write = asyncio.Event(), threading.Event(), journal._write
    loop = asyncio.get_running_loop()

    def slowly(*words):
        loop.call_soon_threadsafe(began.set)
        go_on.wait(10)
        write(*words)

    monkeypatch.setattr(journal, "_write", slowly)

    async def link():
        async with journal.recorded("fit01", tmp_path / "01-aa", "pxefrisbee"):
            raise AssertionError("not reached")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(link())
        await began.wait()
        task.cancel()
        loop.call_later(0.05, go_on.set)
        await asyncio.wait([task])
    assert task.cancelled()
    assert list((tmp_path / str(os.getuid())).iterdir()) == []


@pytest.mark.parametrize("ends", ["cancelled", "interrupted"])
def test_work_that_never_ends_keeps_nobody_from_an_end(ends):
    code = f"""
import asyncio, os, signal, threading
from rhubarbe.concurrency.threads import in_passing

def work():
    os.kill(os.getpid(), signal.SIGINT) if {ends == "interrupted"} else None
    threading.Event().wait()

async def main():
    # As commands do: without it, a signal just before the loop sleeps wakes nobody.
    cancel = asyncio.current_task().cancel
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, cancel)
    async with asyncio.timeout(0.2 if {ends == "cancelled"} else None):
        await in_passing(None, work)

try:
    asyncio.run(main())
except (TimeoutError, asyncio.CancelledError):
    print("over")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"over\n"
