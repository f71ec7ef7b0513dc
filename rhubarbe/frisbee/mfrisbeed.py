"""The master server: `rhubarbe-mfrisbeed [options] -c ACCESS DIRECTORY`."""

import asyncio
import errno
import ipaddress
import os
import re
import resource
import select
import signal
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rhubarbe.annexe.errors import NotOurs
from rhubarbe.frisbee import options, report
from rhubarbe.frisbee.access import EVERYTHING, Access, read_access
from rhubarbe.frisbee.errors import FrisbeeError, MalformedPacket, PortInUse, UsageError
from rhubarbe.frisbee.master import (
    HEADER_BYTES,
    ITSELF,
    PORT,
    WORDS,
    GetReply,
    GetRequest,
    Method,
    Refusal,
    body_bytes,
    can_be_host,
    is_put,
    put_refused,
)
from rhubarbe.frisbee.multicast import own_address
from rhubarbe.frisbee.pacing import BITS_PER_BLOCK, MOST_BITS
from rhubarbe.frisbee.served import Channel, Image, ImageServers
from rhubarbe.text import sanitise

USAGE = """\
usage: rhubarbe-mfrisbeed [-d] [-i address] [-m group] [-p low-high] [-W bits_per_s] [-T idle_s]
           -c access|--anybody directory

Tell clients that ask for an image by its name (rhubarbe-frisbee -S ADDRESS -F IMAGE) which session
to join, and start a rhubarbe-frisbeed for it. Images are the files NAME.ndz in the directory which
everybody on this machine may read; a link there is another name of the image that it leads to.
  -c file      who may have what: on each line a pattern of names, then addresses, networks, or all;
               the first line that fits the name of the image decides, and without one nobody may
  --anybody    instead: whoever asks may have any image
  -i address   answer, and serve, at this address only
  -m group     the first image goes to this group (234.5.7.1), others to those that follow it
  -p low-high  ports, one for each image that is served at the same time (21001-21032)
  -W bps       bandwidth in bits per second, of each image (100000000)
  -T s         an image is served until nobody has asked for blocks for s seconds (300)
  -d           say what is asked for, and what is answered

Whoever is on the network can listen to a session, and an address proves nothing: this keeps apart
those who mean well. It ends, with all that it serves, by SIGINT, SIGTERM or SIGHUP.

Example: rhubarbe-mfrisbeed -i 192.168.3.100 -c /etc/rhubarbe/images.access /var/lib/rhubarbe-images
"""
_SUFFIX = ".ndz"
_ANY = "0.0.0.0"  # noqa: S104 - at all of our addresses
_NAME = re.compile(r"[\w@%+,-][\w@%+,. -]*")
_MOST_CONNECTIONS, _MOST_OF_A_HOST = 1000, 8
_OTHER_FILES = 600  # of the image servers, and connections that are about to be refused
_SAYS_WITHIN_S = 10.0


@dataclass(frozen=True)
class MasterSettings:
    """The command line, understood."""

    directory: Path
    access: Access
    interface: str
    channels: list[Channel]
    bandwidth: int
    idle_limit: int
    debug: bool


def read_settings(words: list[str]) -> MasterSettings:
    """Read the command line, and who may have what; raise UsageError, NotOurs, OSError."""
    given = options.parse(words, "dh", "cimpWT", long_flags=("anybody",))
    if given.has("h"):
        raise UsageError
    if len(given.arguments) != 1:
        raise UsageError(f"one directory is needed, not {len(given.arguments)}")
    if given.has("c") == given.has("anybody"):
        raise UsageError("either -c FILE says who may have what, or --anybody")
    directory = Path(given.arguments[0])
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such directory")
    return MasterSettings(
        directory=directory,
        access=read_access(given.text("c")) if given.has("c") else Access([EVERYTHING]),
        interface=given.address("i"),
        channels=_channels(given.address("m") or "234.5.7.1", given.text("p", "21001-21032")),
        bandwidth=given.number("W", 100_000_000, BITS_PER_BLOCK, MOST_BITS),
        idle_limit=given.number("T", 300, 1),
        debug=given.has("d"),
    )


def _channels(group: str, ports: str) -> list[Channel]:
    low, _, high = ports.partition("-")
    first = options.number("p", low, 1, 65535)
    last = options.number("p", high, first, 65535) if high else first
    start = ipaddress.IPv4Address(group)
    if not (start.is_multicast and (start + (last - first)).is_multicast):
        raise UsageError(f"option -m: {group} and the {last - first} that follow it are no groups")
    return [Channel(str(start + (port - first)), port) for port in range(first, last + 1)]


def find_image(directory: Path, name: str) -> Image | None:
    """Return the image that a name means, with or without `.ndz`; None where there is none.

    It must be a file in this directory that everybody may read.
    """
    for candidate in (name, name + _SUFFIX):
        if not _NAME.fullmatch(candidate):
            continue
        try:
            home = os.path.realpath(directory, strict=True)
            path = Path(os.path.realpath(directory / candidate, strict=True))
            status = path.stat()
        except OSError:
            continue
        if path.parent != Path(home) or path.suffix != _SUFFIX:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
            return Image(path, status.st_size, status.st_dev, status.st_ino)
    return None


class _Unexpected:
    """Says in a line what asyncio could not do, such as open one more connection; not twice."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last = ""

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        text = f"{context.get('message')}: {context.get('exception')}"
        if text != self._last:
            self._say(text)
        self._last = text


class Master:
    """Answers who asks; `servers` serve, from our `address`, or the one that routes say."""

    def __init__(
        self,
        settings: MasterSettings,
        address: str,
        servers: ImageServers,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._address = address
        self._servers = servers
        self._say = say
        self._most = _allow_connections()
        self._connections: Counter[str] = Counter()
        self._answering: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def end(self) -> None:
        """End all connections."""
        for writer in self._answering.values():
            writer.transport.abort()
        if tasks := [task for task in self._answering if task]:
            await asyncio.wait(tasks)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer questions of one connection until it ends, is silent, or reads no answers."""
        host = writer.get_extra_info("peername")[0]
        self._connections[host] += 1
        self._answering[asyncio.current_task()] = writer
        writer.transport.set_write_buffer_limits(0)  # an answer is drained once all of it has left
        try:
            if self._has_room_for(host):
                await self._answer_all(reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            pass  # it is gone, or says nothing
        except MalformedPacket as error:
            self._note(f"{host} is not understood: {error}")
        finally:
            self._connections -= Counter([host])
            del self._answering[asyncio.current_task()]
            writer.transport.abort()  # to close it would wait for whoever does not read

    def _has_room_for(self, host: str) -> bool:
        ours, all_of_them = self._connections[host], self._connections.total()
        return ours <= _MOST_OF_A_HOST and all_of_them <= self._most

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_SAYS_WITHIN_S):
                header = await reader.readexactly(HEADER_BYTES)
                body = await reader.readexactly(body_bytes(header))
            if is_put(header):
                writer.write(put_refused())
            else:
                host = writer.get_extra_info("peername")[0]
                is_here = host == writer.get_extra_info("sockname")[0]
                reply = await self.reply(GetRequest.decode(body), host, is_here=is_here)
                writer.write(reply.encode())
            async with asyncio.timeout(_SAYS_WITHIN_S):
                await writer.drain()

    async def reply(self, request: GetRequest, host: str, *, is_here: bool = False) -> GetReply:
        """Answer a question of `host`; who is on this machine may ask for another host."""
        name = os.fsdecode(request.name)
        if request.host not in {ITSELF, host}:
            if not is_here:
                self._note(f"{host} asks for {request.host}, which only this machine may")
                return GetReply(Refusal.NO_ACCESS)
            if not can_be_host(request.host):
                self._note(f"{host} asks for {request.host}, which is no host")
                return GetReply(Refusal.INVALID)
            host = request.host
        try:
            reply = await self._reply(request, name, host)
        except (FrisbeeError, OSError) as error:
            self._say(str(error))
            reply = GetReply(Refusal.FAILED)
        what = WORDS[Refusal(reply.refusal)] if reply.refusal else f"{reply.address}:{reply.port}"
        self._note(f"{host} asks for {name}: {what}")
        return reply

    async def _reply(self, request: GetRequest, name: str, host: str) -> GetReply:
        access = self._settings.access
        if not _NAME.fullmatch(name):
            return GetReply(Refusal.INVALID)
        image = await asyncio.to_thread(find_image, self._settings.directory, name)
        if not access.allows(host, image.path.name if image else name):
            return GetReply(Refusal.NO_ACCESS if access.knows(host) else Refusal.NO_HOST)
        if image is None:
            return GetReply(Refusal.NO_IMAGE)
        if Method.MULTICAST in request.methods:
            return await self._offer(image, Method.MULTICAST, "", starts=not request.only_asks)
        if Method.UNICAST in request.methods:
            return await self._offer(image, Method.UNICAST, host, starts=not request.only_asks)
        return GetReply(Refusal.NO_METHOD)

    async def _offer(self, image: Image, method: Method, client: str, *, starts: bool) -> GetReply:
        """Tell where an image is served, to a group or one client, once that has been started."""
        channel = self._servers.running(image, client)
        if channel is None and starts:
            channel = await self._servers.serve(image, client)
            if channel is None:
                return GetReply(Refusal.TRY_AGAIN)
        reply = GetReply(method=method, server=self._address, size=image.size)
        if channel is None:
            return reply
        # who receives alone sends to the server
        address = self._address if client else channel.group
        return replace(reply, is_running=True, address=address, port=channel.port)

    def _note(self, text: str) -> None:
        if self._settings.debug:
            self._say(text)


def _allow_connections() -> int:
    """Have as many files open as is allowed; return how many connections these are enough for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _OTHER_FILES
    if soft < wanted:
        soft = min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(_MOST_OF_A_HOST, min(_MOST_CONNECTIONS, soft - _OTHER_FILES))


def _is_read(descriptor: int) -> bool:
    """Whether a line can be written now: nobody who asks is to wait for who reads the log."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


async def _serve(settings: MasterSettings, say: Callable[[str], None]) -> None:
    asyncio.get_running_loop().set_exception_handler(_Unexpected(say))
    address = settings.interface or own_address(settings.channels[0].group)
    words = ["-i", address, "-W", str(settings.bandwidth), "-T", str(settings.idle_limit)]
    servers = ImageServers(settings.channels, words, say)
    master = Master(settings, address, servers, say)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        server = await asyncio.start_server(master.answer, settings.interface or _ANY, PORT)
    except OSError as error:
        kind = PortInUse if error.errno == errno.EADDRINUSE else FrisbeeError
        raise kind(f"Bind to {address}:{PORT} failed: {os.strerror(error.errno or 0)}") from error
    try:
        say(f"Answering at {address}:{PORT} for the images in {settings.directory}")
        await stop.wait()
    finally:
        server.close()
        await servers.end()
        await master.end()  # nobody is waiting for a server any more
    say("Exiting!")


def main(argv: list[str] | None = None) -> int:
    """Run the master server; return its exit status."""
    log = report.LineReport(2, time.monotonic())

    def say(text: str) -> None:
        if _is_read(2):
            log.line(sanitise(text))

    words = sys.argv[1:] if argv is None else argv
    if text := options.explanation(words, "rhubarbe-mfrisbeed", USAGE):
        sys.stdout.write(text)
        return 0
    try:
        asyncio.run(_serve(read_settings(words), say))
    except UsageError as error:
        log.write(options.correction(error, "rhubarbe-mfrisbeed", USAGE))
        return error.exit_status
    except FrisbeeError as error:
        log.line(sanitise(str(error)))
        return error.exit_status
    except (NotOurs, OSError) as error:
        log.line(sanitise(f"rhubarbe-mfrisbeed: {error}"))
        return 1
    return 0
