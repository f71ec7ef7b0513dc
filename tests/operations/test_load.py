"""What a load does before any node is touched."""

import asyncio
import threading

from rhubarbe.images import OpenImage, opening
from rhubarbe.operations import vouching


async def test_an_interrupted_load_does_not_finish_checking_its_image(monkeypatch, tmp_path):
    begun, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def check_image(path, stop, file, manifest):
        loop.call_soon_threadsafe(begun.set)
        assert stop.wait(20)
        ended.set()

    monkeypatch.setattr(opening, "check_image", check_image)
    (tmp_path / "large.ndz").touch()
    image = OpenImage(tmp_path / "large.ndz")
    async with asyncio.TaskGroup() as group:
        checking = group.create_task(vouching.check_image(image, str(tmp_path / "state")))
        await begun.wait()
        checking.cancel()
    assert await asyncio.to_thread(ended.wait, 20)
    image.close()
