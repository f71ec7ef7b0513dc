"""Whoever writes to the image of a load ends it, and is told of as what happened."""

import asyncio
import os

import pytest

from rhubarbe.errors import ImageError
from rhubarbe.operations import unchanged
from rhubarbe.operations.unchanged import Unchanged
from rhubarbe.repository import OpenImage


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.setattr(unchanged, "LOOK_EVERY_S", 0.01)
    path = tmp_path / "some.ndz"
    path.write_bytes(bytes(100))
    os.utime(path, (1, 1))
    with OpenImage(path) as image:
        yield image


@pytest.mark.parametrize("change", ["content", "length"])
async def test_a_change_ends_what_waits_for_the_image(image, change):
    watched = Unchanged(image, image.edition)
    await watched.require()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(watched.watch())
        waiting = group.create_task(_ended(watched))
        await asyncio.sleep(0)
        assert not waiting.done()
        with image.path.open("r+b") as file:
            file.write(b"!") if change == "content" else file.truncate(5)
    assert waiting.result() == f"{image.path}: was changed while it was loaded"
    with pytest.raises(ImageError):
        await watched.require()


async def _ended(watched):
    with pytest.raises(ImageError) as caught:
        await watched.alarm()
    return str(caught.value)


async def test_another_file_of_its_name_and_another_mode_are_no_change(image, tmp_path):
    watched = Unchanged(image, image.edition)
    image.path.chmod(0o600)
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "new").replace(image.path)
    await watched.require()
