"""The image server: `rhubarbe-frisbeed [options] -m GROUP -p PORT IMAGE`."""

import mmap
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rhubarbe.frisbee import options, report
from rhubarbe.frisbee.errors import FrisbeeError, MalformedPacket, PortInUse, UsageError
from rhubarbe.frisbee.multicast import (
    LONGEST_TRAIN,
    RECEIVE_BUFFER,
    Arrival,
    Channel,
    Session,
    own_address,
)
from rhubarbe.frisbee.pacing import BITS_PER_BLOCK, Pacer
from rhubarbe.frisbee.packets import (
    BLOCK_SIZE,
    CHUNK_SIZE,
    Ask,
    AskPart,
    BlockHeaders,
    Join,
    Join2,
    Leave,
    Leave2,
    Packet,
    decode,
    encode,
)
from rhubarbe.frisbee.sending import Sender, Train

USAGE = """\
usage: rhubarbe-frisbeed [-dDb] [-i interface] [-k sockbuf_kb] [-T idle_s] [-K keepalive_s]
           [-W bits_per_s | -B burst_blocks -G gap_us] [-R blocks] [-A file]
           -m group -p port|low-high image

Serve an image to all the clients of a multicast group.
  -m group     multicast group, or the address of the only client
  -p port      port, the first free one of a range, or 0: the kernel's choice
  -i address   interface to use, by its address
  -W bps       bandwidth in bits per second, a block counting for 8976
  -B n -G us   instead: bursts of n blocks (16), one each so many microseconds (2000); -G 0: no limit
  -D           send less while packets get lost
  -T s         end after s seconds without requests (1800); 0: never; -1: when all clients have left
  -K s         remind switches of the group after s idle seconds
  -A file      write the address and port there when ready
  -k kb        socket buffers; -b: broadcast; -d: say what happens, -dd: each request too
  -R n         accepted for compatibility: the image is mapped, not read

Example: rhubarbe-frisbeed -i 192.168.3.1 -W 500000000 -m 234.5.6.1 -p 10001-10020 ubuntu.ndz
"""
_TICK = 0.1  # seconds between looks at the clock while idle
_DYNAMIC_INTERVAL = 0.5
_ARRIVALS_PER_TURN = 64
_REMARKS_PER_SECOND = 20


@dataclass
class Settings:
    """The command line, understood."""

    image: str = ""
    group: str = ""
    ports: tuple[int, int] = (-1, -1)
    interface: str = ""
    broadcast: bool = False
    buffer_bytes: int = RECEIVE_BUFFER
    idle_limit: int = 1800
    keep_alive: int = 0
    bandwidth: int = 0
    burst: int = 16
    gap_us: int = 2000
    dynamic: bool = False
    address_file: str = ""
    debug: int = 0

    def pacer(self) -> Pacer:
        """Return the pacer of ``-W``, or else of ``-B`` and ``-G``."""
        if self.bandwidth:
            return Pacer.of_bandwidth(self.bandwidth, LONGEST_TRAIN)
        return Pacer.of_bursts(self.burst, self.gap_us, LONGEST_TRAIN)


def _set(settings: Settings, letter: str, text: str) -> None:
    number = options.number
    match letter:
        case "d":
            settings.debug += 1
        case "m":
            settings.group = options.address(letter, text)
        case "i":
            settings.interface = options.address(letter, text)
        case "p":
            low, _, high = text.partition("-")
            first = number(letter, low, 0, 65535)
            settings.ports = first, number(letter, high, first, 65535) if high else first
        case "A":
            settings.address_file = text
        case _:
            _set_tuning(settings, letter, text)


def _set_tuning(settings: Settings, letter: str, text: str) -> None:
    number = options.number
    match letter:
        case "b":
            settings.broadcast = True
        case "D":
            settings.dynamic = True
        case "k":
            settings.buffer_bytes = number(letter, text) << 10 or RECEIVE_BUFFER
        case "T":
            settings.idle_limit = number(letter, text, -(1 << 31))
        case "K":
            settings.keep_alive = number(letter, text)
        case "W":
            settings.bandwidth = number(letter, text, BITS_PER_BLOCK)
        case "B":
            settings.burst = number(letter, text, 1)
        case "G":
            settings.gap_us = number(letter, text)


def read_settings(words: list[str]) -> Settings:
    """Read the command line.

    Raises:
        UsageError: it cannot be understood, or lacks image, group or port.

    """
    settings = Settings()
    chosen, arguments = options.parse(words, "dhbDt", "pkmiTRBGWKA", {"help": "h"})
    for letter, text in chosen:
        if letter == "h":
            raise UsageError
        _set(settings, letter, text)
    if len(arguments) != 1:
        raise UsageError(f"one image is needed, not {len(arguments)}")
    if not settings.group or settings.ports[0] < 0:
        raise UsageError("-m GROUP and -p PORT are needed")
    settings.image = arguments[0]
    return settings


class Image:
    """The file that is served, mapped: its pages go to the socket without a copy."""

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            with Path(path).open("rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is empty"
            raise FrisbeeError(f"Cannot read {path}: {reason}") from error
        self._view = memoryview(self._map)
        short = self.size % BLOCK_SIZE
        self._last = self.size - short
        self._tail = bytes(self._view[self._last :]).ljust(BLOCK_SIZE, b"\0")

    def close(self) -> None:
        """Unmap the file."""
        self._view.release()
        self._map.close()

    def will_need(self, chunk: int) -> None:
        """Have the kernel read ahead what is served next."""
        start = chunk * CHUNK_SIZE
        self._map.madvise(mmap.MADV_WILLNEED, start, min(CHUNK_SIZE, self.size - start))

    def block(self, chunk: int, block: int) -> bytes | memoryview:
        """Return 1024 bytes; the end of a file is padded with zeroes."""
        at = chunk * CHUNK_SIZE + block * BLOCK_SIZE
        return self._view[at : at + BLOCK_SIZE] if at < self._last else self._tail


class Server:
    """Drives the sending machine with a socket, a clock and an image."""

    def __init__(
        self, settings: Settings, image: Image, channel: Channel, log: report.Report
    ) -> None:
        self._settings = settings
        self._image = image
        self._channel = channel
        self._log = log
        self._pacer = settings.pacer()
        self._start = time.monotonic()
        self._sender = Sender(image.size, self._start)
        self._headers = BlockHeaders(channel.source)
        self._chunk = -1
        self._pieces: list[bytes | memoryview] = []
        self._sent = 0
        self._idle = True
        self._kept_alive = self._adapted = self._start
        self._trouble = 0
        self._remarks = 0
        self._remarks_second = 0
        self._remarks_made = 0

    # -- sending ---------------------------------------------------------------------------------

    def _work(self, now: float) -> float:
        """Send what may be sent now; return for how many seconds nothing is to be done."""
        if self._pieces:
            return self._push()
        wait = self._pacer.wait(now)
        if wait:
            return wait
        train = self._sender.next_train(self._pacer.burst, now)
        if train is None:
            self._idle = True
            return _TICK
        if self._idle:
            self._pacer.start(now)
            self._idle = False
        self._load(train)
        self._pacer.sent(len(train.blocks), now)
        return self._push() or self._pacer.wait(now)

    def _load(self, train: Train) -> None:
        if train.chunk != self._chunk:
            self._chunk = train.chunk
            self._headers.choose(train.chunk)
            self._image.will_need(train.chunk)
        views, block = self._headers.views, self._image.block
        self._pieces = [
            piece
            for number in train.blocks
            for piece in (views[number], block(train.chunk, number))
        ]
        self._sent = 0

    def _push(self) -> float:
        """Hand the train to the kernel; return how long to wait when it has no room."""
        try:
            self._sent = self._channel.send_train(self._pieces, self._sent)
        except OSError as error:
            message = f"Cannot send chunk {self._chunk} of {self._image.name}: {error.strerror}"
            raise FrisbeeError(message) from error
        if self._sent < len(self._pieces) // 2:
            return 0.001
        self._sender.counters.messages_out += self._sent
        self._pieces = []
        return 0.0

    # -- receiving -------------------------------------------------------------------------------

    def _listen(self, ready: list[socket.socket], now: float) -> None:
        replies: dict[Packet, None] = {}  # one reply serves all who asked the same
        for each in ready:
            for arrival in self._channel.receive(each, _ARRIVALS_PER_TURN):
                self._take(arrival, replies, now)
        for reply in replies:
            self._channel.send(encode(reply, self._channel.source))
            self._sender.counters.messages_out += 1

    def _take(self, arrival: Arrival, replies: dict[Packet, None], now: float) -> None:
        data, segment, address, port = arrival
        for start in range(0, len(data), segment):
            try:
                packet, source = decode(data[start : start + segment])
                self._check_origin(source, address, port)
                reply = self._sender.receive(packet, address, now)
            except MalformedPacket as problem:
                self._remark(f"{problem}: packet from {address} ignored", now)
                continue
            if reply is not None:
                replies[reply] = None
            if self._settings.debug:
                self._tell(packet, address, now)

    def _check_origin(self, source: bytes, address: str, port: int) -> None:
        claimed = socket.inet_ntoa(source)
        if claimed != address and address != self._channel.session.group:
            raise MalformedPacket(f"Bad message source ({claimed} != {address})")
        if port != self._channel.port:
            raise MalformedPacket(f"Bad message port ({port} != {self._channel.port})")

    # -- talking ---------------------------------------------------------------------------------

    def _remark(self, text: str, now: float) -> None:
        """Say something that strangers on the network can make us say: so many times a second."""
        if int(now) != self._remarks_second:
            self._remarks_second, self._remarks_made = int(now), 0
        self._remarks_made += 1
        if self._settings.debug and self._remarks_made <= _REMARKS_PER_SECOND:
            self._log.line(text)

    def _tell(self, packet: Packet, address: str, now: float) -> None:
        active = f"{self._sender.roster.active} active clients"
        match packet:
            case Join() | Join2():
                version = 1 if isinstance(packet, Join) else 2
                who = f"{address} (id {packet.client}, image {self._image.name})"
                self._remark(f"{who} joins (v{version}) at {report.clock()}!  {active}.", now)
                self._remark(f"sending JOIN{version} reply to {packet.client}", now)
            case Leave() | Leave2():
                who = f"{address} (id {packet.client}, image {self._image.name})"
                ran = f"ran for {packet.elapsed} seconds"
                self._remark(f"{who}: leaves at {report.clock()}, {ran}.  {active}", now)
                if isinstance(packet, Leave2):
                    self._remark(report.describe(packet.client, packet.statistics).rstrip(), now)
            case Ask() if self._settings.debug > 1:
                what = f"chunk:{packet.chunk} block:{packet.block} size:{packet.count}"
                self._remark(f"Client {address} requests {what}", now)
            case AskPart() if self._settings.debug > 1:
                what = f"{packet.blocks.bit_count()} blocks of chunk:{packet.chunk}"
                self._remark(f"Client {address} requests {what}", now)

    def announce(self) -> None:
        """Say how we serve, and that we are ready."""
        if self._settings.debug:
            self._log.write(self._parameters())
        self._log.line(f"Serving {self._image.name} on {self._settings.group}:{self._channel.port}")
        if self._settings.address_file:
            line = f"{self._channel.session.group}:{self._channel.port}\n\0"
            Path(self._settings.address_file).write_text(line)

    def _parameters(self) -> str:
        pacer = self._pacer
        limit = "unlimited"
        if pacer.rate:
            megabits = pacer.rate * BITS_PER_BLOCK / 1e6
            limit = f"{megabits:.3f} Mbits/sec ({pacer.rate:.0f} blocks/sec)"
            limit += f"\n  burstsize={pacer.burst}, burstinterval={pacer.interval * 1e6:.0f}us"
        group = (
            f"Using Multicast {self._settings.group}\n"
            if self._channel.session.is_multicast
            else ""
        )
        return (
            f"Opened {self._image.name}: {self._sender.blocks} blocks ({self._image.size} bytes)\n"
            f"Maximum socket buffer size of {self._channel.buffer_bytes} bytes\n"
            f"Maximum send bandwidth {limit}\n"
            f"{group}Bound to {self._settings.group}:{self._channel.port}\n"
        )

    def close_books(self) -> None:
        """Print the statistics of the session."""
        counters, roster = self._sender.counters, self._sender.roster
        counters.intervals, counters.missed = self._pacer.intervals, self._pacer.missed
        counters.overruns = self._channel.overruns
        seconds = time.monotonic() - self._start
        if self._settings.debug:
            self._log.write(
                report.summarize(
                    counters, roster.joins, roster.leaves, self._sender.blocks, seconds
                )
            )
        else:
            repeated = max(0, counters.blocks_sent - self._sender.blocks)
            sent = f"Sent {counters.blocks_sent} blocks ({repeated} repeated)"
            self._log.line(f"{sent}; {roster.joins} joins, {roster.leaves} leaves")

    # -- the loop --------------------------------------------------------------------------------

    def run(self, wake: int) -> None:
        """Serve until nobody wants anything any more, or something can be read from ``wake``."""
        waiting = [wake, *self._channel.sockets]
        while True:
            now = time.monotonic()
            pause = self._work(now)
            ready = select.select(waiting, (), (), pause)[0]
            if wake in ready:
                self._log.line("Interrupted!")
                return
            if ready:
                self._listen(ready, now)
            elif self._idle:
                why = self._sender.over(self._settings.idle_limit, now)
                if why:
                    self._log.line(why)
                    return
                self._keep_alive(now)
            if self._settings.dynamic:
                self._adapt(now)
            while self._channel.remarks:
                self._log.line(self._channel.remarks.pop())

    def _keep_alive(self, now: float) -> None:
        every = self._settings.keep_alive
        since = max(self._kept_alive, self._sender.idle_since)
        if every and now - since >= every:
            self._channel.keep_alive()
            self._kept_alive = now

    def _adapt(self, now: float) -> None:
        if now - self._adapted < _DYNAMIC_INTERVAL:
            return
        trouble = self._channel.overruns + self._sender.counters.repeated_requests
        self._pacer.adapt(trouble=trouble > self._trouble)
        self._adapted, self._trouble = now, trouble


class _HungUp(Exception):
    """SIGHUP came."""


def _hang_up(_number: int, _frame: FrameType | None) -> None:
    raise _HungUp


def _open_channel(settings: Settings) -> Channel:
    """Open the session on the first port of the range that is free."""
    interface = settings.interface or own_address(settings.group)
    problem: FrisbeeError = PortInUse("no port")
    low, high = settings.ports
    for port in range(low, high + 1):
        session = Session(settings.group, port, interface, settings.broadcast)
        try:
            return Channel(session, exclusive=True, buffer_bytes=settings.buffer_bytes)
        except PortInUse as error:
            problem = error
    raise type(problem)(f"{problem}\nCould not bind {settings.group}:{low}!") from problem


def _serve(settings: Settings, log: report.Report) -> None:
    image = Image(settings.image)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    try:
        with _open_channel(settings) as channel:
            channel.deaf_to_blocks()
            signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda _number, _frame: None)
            signal.signal(signal.SIGHUP, _hang_up)
            server = Server(settings, image, channel, log)
            server.announce()
            server.run(wake)
            server.close_books()
            log.line("Exiting!")
    finally:
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)
        os.close(wake)
        os.close(waker)
        image.close()


def main(argv: list[str] | None = None) -> int:
    """Run the server; return its exit status."""
    log = report.Report(2, time.monotonic())
    try:
        _serve(read_settings(sys.argv[1:] if argv is None else argv), log)
    except UsageError as error:
        log.write((f"rhubarbe-frisbeed: {error}\n" if error.args else "") + USAGE)
        return error.exit_status
    except FrisbeeError as error:
        log.line(str(error))
        return error.exit_status
    except _HungUp:
        log.line("Caught signal 1. Exiting ...")
        return 1
    return 0
