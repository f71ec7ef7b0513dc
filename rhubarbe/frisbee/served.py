"""The image servers that a master server has running, each a process for one image."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rhubarbe.annexe.programs import locate
from rhubarbe.frisbee.errors import FrisbeeError, PortInUse

_READY_WITHIN_S = 15.0
_ENDS_WITHIN_S = 10.0
_PROGRAM = "rhubarbe-frisbeed"


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a session takes place: `group` is a host's address where that is the only client."""

    group: str
    port: int


class Image(NamedTuple):
    """An image, its size in bytes, and its file: another one of that name is another image."""

    path: Path
    size: int
    device: int
    inode: int


class ImageServers:
    """Starts image servers, one for each image and group or host, and ends them all.

    `options` are those of each, `channels` where groups are served; `say` is told of each.
    """

    def __init__(
        self, channels: list[Channel], options: list[str], say: Callable[[str], None]
    ) -> None:
        self._channels = channels
        self._options = options
        self._say = say
        self._running: dict[tuple[Image, str], tuple[Channel, asyncio.subprocess.Process]] = {}
        self._starting = asyncio.Lock()

    def running(self, image: Image, host: str = "") -> Channel | None:
        """Return where an image is served now, to a group, or to one host."""
        channel, process = self._running.get((image, host), (None, None))
        return channel if process and process.returncode is None else None

    async def serve(self, image: Image, host: str = "") -> Channel | None:
        """Return where an image is served, having started that; None where no channel is free.

        Raises FrisbeeError where it cannot be served.
        """
        async with self._starting:  # of several who ask at once, the first one starts it
            if found := self.running(image, host):
                return found
            alive = [each for each in self._running.items() if each[1][1].returncode is None]
            self._running = dict(alive)
            taken = {channel.port for channel, _ in self._running.values()}
            for channel in self._channels:
                if channel.port in taken:
                    continue
                place = Channel(host, channel.port) if host else channel
                with suppress(PortInUse):
                    process = await self._start(image.path, place)
                    self._running[image, host] = place, process
                    return place
            return None

    async def _start(self, image: Path, channel: Channel) -> asyncio.subprocess.Process:
        """Start a server and wait until it says that it is ready; raise FrisbeeError."""
        ready, told = os.pipe()
        words = ["-m", channel.group, "-p", str(channel.port), "-A", f"/dev/fd/{told}"]
        try:
            process = await asyncio.create_subprocess_exec(
                *(_program(), *self._options, *words, str(image)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[told],
            )
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(told)
        try:
            await _be_ready(process, ready, image)
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        finally:
            os.close(ready)
        self._say(f"{image.name} is served at {channel.group}:{channel.port}")
        return process

    async def end(self) -> None:
        """End all servers, and start no other one."""
        self._channels = []
        async with self._starting:  # one may just be starting
            await self._end_all()

    async def _end_all(self) -> None:
        processes = [each for _, each in self._running.values() if each.returncode is None]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                async with asyncio.timeout(_ENDS_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _be_ready(process: asyncio.subprocess.Process, ready: int, image: Path) -> None:
    """Wait until a server says by a pipe that it is ready; raise PortInUse, FrisbeeError."""
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            said = await asyncio.to_thread(os.read, ready, 256)
            status = None if said else await process.wait()
    except TimeoutError:
        raise FrisbeeError(f"{image}: its server does not start") from None
    if status is not None:
        kind = PortInUse if status == PortInUse.exit_status else FrisbeeError
        raise kind(f"{image}: its server ended with {status}")


def _program() -> str:
    """Return the path of the image server: the one beside this program, or another one."""
    beside = Path(sys.argv[0]).resolve().with_name(_PROGRAM)
    found = str(beside) if beside.exists() else locate(_PROGRAM)
    if found is None:
        raise FrisbeeError(f"{_PROGRAM} is not installed")
    return found
