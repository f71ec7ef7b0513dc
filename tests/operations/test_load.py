"""What a load does before any node is touched."""

import asyncio
import threading
from pathlib import Path

from rhubarbe.operations import load as load_module


async def test_an_interrupted_load_does_not_finish_checking_its_image(monkeypatch):
    begun, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def check_image(path, stop):
        loop.call_soon_threadsafe(begun.set)
        assert stop.wait(20)
        ended.set()

    monkeypatch.setattr(load_module, "check_image", check_image)
    async with asyncio.TaskGroup() as group:
        checking = group.create_task(load_module._check(Path("large.ndz")))
        await begun.wait()
        checking.cancel()
    assert await asyncio.to_thread(ended.wait, 20)
