"""The image client: `rhubarbe-frisbee [options] -m GROUP -p PORT DISK`."""

import os
import random
import select
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from rhubarbe.frisbee import options, report
from rhubarbe.frisbee.chunks import ChunkBuffers, store_train
from rhubarbe.frisbee.errors import FrisbeeError, MalformedPacket, UsageError
from rhubarbe.frisbee.multicast import RECEIVE_BUFFER, Arrival, Channel, Session, own_address
from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    BLOCK_SIZE,
    CHUNK_SIZE,
    Block,
    Join,
    Join2,
    Joined,
    Joined2,
    Leave2,
    Statistics,
    decode,
    encode,
)
from rhubarbe.frisbee.rawdisk import RawWriter
from rhubarbe.frisbee.receiving import TICK, Receiver, Tuning
from rhubarbe.imaging.errors import ImagingError
from rhubarbe.imaging.restore import Restorer, Target, Written
from rhubarbe.ndz.errors import NdzError

USAGE = """\
usage: rhubarbe-frisbee [-bdfnNOqz] [-i interface] [-k sockbuf_kb] [-T silence_s] [-K keepalive_s]
           [-C chunk_mb] [-W write_mb] [-M total_mb] [-R chunks] [-I redo_ms] [-r delay_s]
           [-s slice] [-S server] [--as-device] [--verify] -m group -p port disk

Receive an image from a frisbee server onto a disk, a file, or - for the standard output.
  -m group     multicast group, or the address of the server; -p port
  -i address   interface to use, by its address
  -S address   take blocks from this server only
  -N           write the file as it is: it is not an image, or is to be kept as one
  -z           make free space zero; -f: bypass the page cache; -s n: into slice n
  -T s         give up when the server is silent for s seconds (60); 0: never
  -K s         remind switches of the group after s idle seconds
  -C mb        memory for chunks (64), -W mb: for writing (64), -M mb: half for each
  -R n         chunks asked for ahead (2); -I ms: before asking again (1000); -O: in order
  -r s         wait up to s seconds before joining
  -q           no dots, no statistics; -b: broadcast; -d: debug; -n: accepted for compatibility
  --as-device  a regular file is a disk: its size and other content stay
  --verify     read back from the disk what was written, and compare

Example: rhubarbe-frisbee -i 192.168.3.4 -m 234.5.6.1 -p 10001 /dev/sda
"""
_ARRIVALS_PER_TURN = 64
_GIGABYTE = 10**9
_SILENCE = 60.0


@dataclass
class Settings:
    """The command line, understood; memory in MiB, times in seconds."""

    disk: str = ""
    group: str = ""
    port: int = 0
    interface: str = ""
    server: str = ""
    tuning: Tuning = field(default_factory=lambda: Tuning(silence=_SILENCE))
    silence_chosen: bool = False
    flags: set[str] = field(default_factory=set)
    write_mib: int = 64
    buffer_bytes: int = RECEIVE_BUFFER
    keep_alive: int = 0
    delay: int = 0
    slice_number: int | None = None


def _set(settings: Settings, letter: str, text: str) -> None:
    number = options.number
    match letter:
        case "m":
            settings.group = options.address(letter, text)
        case "i":
            settings.interface = options.address(letter, text)
        case "S":
            settings.server = options.address(letter, text)
        case "p":
            settings.port = number(letter, text, 1, 65535)
        case "k":
            settings.buffer_bytes = number(letter, text) << 10 or RECEIVE_BUFFER
        case "K":
            settings.keep_alive = number(letter, text)
        case "r":
            settings.delay = number(letter, text)
        case "s":
            settings.slice_number = number(letter, text, 1, 128)
        case "C" | "W" | "M":
            _set_memory(settings, letter, number(letter, text, 2 if letter == "M" else 0, 262144))
        case "R" | "I" | "T" | "O":
            _set_tuning(settings, letter, text)
        case _:
            settings.flags.add(letter)


def _set_memory(settings: Settings, letter: str, mebibytes: int) -> None:
    half = mebibytes // 2
    if letter in "CM":
        settings.tuning = settings.tuning._replace(buffers=half if letter == "M" else mebibytes)
    if letter in "WM":
        settings.write_mib = half if letter == "M" else mebibytes


def _set_tuning(settings: Settings, letter: str, text: str) -> None:
    number, change = options.number, settings.tuning._replace
    match letter:
        case "R":
            settings.tuning = change(read_ahead=number(letter, text, 1))
        case "I":
            settings.tuning = change(redo=number(letter, text) / 1000)
        case "T":
            settings.tuning = change(silence=float(number(letter, text)))
            settings.silence_chosen = True
        case _:
            settings.tuning = change(randomize=False)


def read_settings(words: list[str]) -> Settings:
    """Read the command line.

    Raises:
        UsageError: it cannot be understood, or lacks disk, group or port.

    """
    settings = Settings()
    long_flags = {"help": "h", "as-device": "as-device", "verify": "verify"}
    chosen, arguments = options.parse(words, "bdfhnNOqtz", "mpiSCWMTKRIrskD", long_flags)
    for letter, text in chosen:
        if letter == "h":
            raise UsageError
        _set(settings, letter, text)
    if len(arguments) != 1:
        raise UsageError(f"one disk is needed, not {len(arguments)}")
    if not settings.group or not settings.port:
        raise UsageError("-m GROUP and -p PORT are needed")
    settings.disk = arguments[0]
    return settings


class Figures:
    """Bytes that a disk has taken."""

    def __init__(self) -> None:
        self.effective = self.actual = self.decompressed_blocks = self.writes = 0


class Disk(Protocol):
    """Where full chunks go; ``submit``, ``check`` and ``finish`` raise what went wrong."""

    def submit(self, index: int, chunk: memoryview) -> None:
        """Take a chunk, whose buffer stays the disk's until it is reported done."""

    def check(self) -> None:
        """Raise what has gone wrong meanwhile."""

    def finish(self) -> Figures:
        """Wait until all is on the disk."""

    def verify(self) -> int:
        """Read it all back and compare; return how many bytes."""

    def abort(self) -> None:
        """Drop what is not yet written."""


class Client:
    """Drives the receiving machine with sockets, a clock and a disk."""

    def __init__(self, settings: Settings, channel: Channel, log: report.Report) -> None:
        self._settings = settings
        self._channel = channel
        self._log = log
        self._quiet = "q" in settings.flags
        self.id = random.SystemRandom().getrandbits(31)
        self._start = time.monotonic()
        self._buffers = ChunkBuffers()
        self.receiver = Receiver(
            self.id,
            settings.tuning,
            now=self._start,
            raw="N" in settings.flags,
            forget=self._buffers.release,
        )
        self._server = settings.server
        self._done: deque[int] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._marked = 0
        self._effective = 0
        self._left = 0
        self._heard_at = self._start
        self._disk: Disk | None = None
        self.joined_at = self._start

    def close(self) -> None:
        """Close what the threads wake us by."""
        os.close(self._wake)

    def chunk_done(self, index: int, effective: int, kind: str) -> None:
        """Note, in a thread of the disk, that a chunk is written: ``kind`` marks each 10^9 bytes."""
        self._effective += effective
        gigabytes = self._effective // _GIGABYTE
        self._left -= 1
        if not self._quiet:
            marks = "." + kind * (gigabytes - self._marked)
            self._log.dots(marks, self._left, time.monotonic())
        self._marked = gigabytes
        self._done.append(index)
        os.eventfd_write(self._wake, 1)

    # -- the loop --------------------------------------------------------------------------------

    def join(self) -> None:
        """Join the session: the size of the file is known then."""
        while not self.receiver.joined:
            self._turn()
        now = time.monotonic()
        self.joined_at = now
        self._left = self.receiver.chunks
        self._log.line(
            f"Joined the team after {now - self._start:.0f} sec. ID is {self.id}. "
            f"File is {self.receiver.chunks} chunks ({self.receiver.size} bytes)"
        )

    def fetch(self, disk: Disk) -> None:
        """Receive all the chunks and give them to ``disk``."""
        self._disk = disk
        while not self.receiver.has_all:
            self._turn()
            disk.check()

    def _turn(self) -> None:
        """Send what is due, wait for something to happen, and take it."""
        now = time.monotonic()
        self._recover_buffers()
        for packet in self.receiver.poll(now):
            self._channel.send(encode(packet, self._channel.source))
        pause = max(0.0, self.receiver.deadline() - now)
        waiting = [self._wake, *self._channel.sockets]
        ready = select.select(waiting, (), (), min(pause, 1.0))[0]
        now = time.monotonic()
        for each in self._channel.sockets:
            if each in ready:
                self._heard_at = now
                for arrival in self._channel.receive(each, _ARRIVALS_PER_TURN):
                    self._take(arrival, now)
        self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        every = self._settings.keep_alive
        if every and now - self._heard_at >= every:
            self._channel.keep_alive()
            self._heard_at = now

    def _recover_buffers(self) -> None:
        if self._done:
            os.eventfd_read(self._wake)
        while self._done:
            self._buffers.release(self._done.popleft())
            self.receiver.written()

    # -- packets ---------------------------------------------------------------------------------

    def _take(self, arrival: Arrival, now: float) -> None:
        data, segment, address, port = arrival
        if port != self._channel.port:
            self._debug(f"Bad message port ({port} != {self._channel.port})")
            return
        whole = len(data) - len(data) % segment
        if segment == BLOCK_BYTES and self._is_server(address):
            source = bytes(map(int, address.split(".")))
            completed = store_train(data[:whole], source, self.receiver, self._buffers, now)
            if completed is not None:
                self._submit(completed)
                data = data[whole:]
        for start in range(0, len(data), segment):
            self._take_packet(data[start : start + segment], address, now)

    def _is_server(self, address: str) -> bool:
        return self.receiver.joined and address == self._server

    def _take_packet(self, datagram: memoryview, address: str, now: float) -> None:
        try:
            packet, source = decode(datagram)
        except MalformedPacket as problem:
            self._debug(f"{problem}: received bad packet from {address}, ignored")
            return
        claimed = ".".join(map(str, source))
        if claimed != address and address != self._channel.session.group:
            self._debug(f"Bad message source ({claimed} != {address})")
        elif isinstance(packet, Block):
            if self._is_server(claimed):
                self._take_block(datagram, source, now)
            elif self.receiver.joined:
                self._debug(f"received BLOCK from non-server {claimed}")
        elif isinstance(packet, Joined | Joined2):
            self._take_reply(packet, claimed, now)
        elif not isinstance(packet, Join | Join2):
            self.receiver.receive(packet, now)

    def _take_block(self, datagram: memoryview, source: bytes, now: float) -> None:
        completed = store_train(datagram[:BLOCK_BYTES], source, self.receiver, self._buffers, now)
        self._submit(completed or [])

    def _take_reply(self, packet: Joined | Joined2, address: str, now: float) -> None:
        if self.receiver.joined or self._server not in ("", address):
            return
        self.receiver.receive(packet, now)
        if self.receiver.joined:
            self._server = address

    def _submit(self, completed: list[int]) -> None:
        for chunk in completed:
            blocks = self.receiver.valid(chunk).bit_length()
            view = memoryview(self._buffers.of(chunk))[: blocks * BLOCK_SIZE]
            if self._disk is not None:
                self._disk.submit(chunk, view)

    def _debug(self, text: str) -> None:
        if "d" in self._settings.flags:
            self._log.line(text)

    # -- the end ---------------------------------------------------------------------------------

    def leave(self, figures: Figures, delay: float) -> None:
        """Tell the server and the user how it went."""
        elapsed = time.monotonic() - self.joined_at
        told = self._statistics(figures, elapsed, delay)
        packet = Leave2(self.id, int(elapsed), told)
        self._channel.send(encode(packet, self._channel.source))
        if not self._quiet:
            text = report.describe(self.id, told, self._channel.buffer_bytes >> 10)
            self._log.line("\n" + text if self._log.is_clear else text)
        self._log.line(f"Left the team after {elapsed:.0f} seconds on the field!")
        self._log.line(f"Wrote {figures.effective} bytes ({figures.actual} actual)")
        blocks, writes = figures.decompressed_blocks, figures.writes
        self._log.line(f"{blocks} 0 {writes}")

    def _statistics(self, figures: Figures, elapsed: float, delay: float) -> Statistics:
        counts, tuning = self.receiver.counts, self.receiver.tuning
        return Statistics(
            run_seconds=int(elapsed),
            run_milliseconds=int(elapsed * 1000) % 1000,
            delay_milliseconds=int(delay * 1000),
            written_bytes=figures.actual,
            effective_bytes=figures.effective,
            chunk_buffers=tuning.buffers,
            read_ahead=tuning.read_ahead,
            in_progress=tuning.in_progress,
            tick_us=int(TICK * 1e6),
            start_delay_seconds=self._settings.delay,
            idle_ticks=tuning.idle_ticks,
            redo_delay_us=int(tuning.redo * 1e6),
            randomized=int(tuning.randomize),
            no_free_chunks=counts.no_free_chunks,
            duplicate_chunk=counts.duplicate_chunk,
            duplicate_block=counts.duplicate_block,
            partial_requests=counts.partial_requests,
            receive_idles=counts.idles,
            join_attempts=counts.joins,
            requests=counts.requests,
            decompress_blocked=figures.decompressed_blocks,
            write_memory_mb=self._settings.write_mib,
            lost_blocks=counts.lost_blocks,
            repeated_requests=counts.repeated_requests,
            partial_drops=counts.partial_drops,
            full_repeats=counts.full_repeats,
        )


class ImageDisk:
    """A disk that takes the chunks of an image; one that is written in order gets them in order."""

    def __init__(self, settings: Settings, client: Client) -> None:
        flags = settings.flags
        self._target = Target.open(
            settings.disk,
            zero_free="z" in flags,
            keep_size="as-device" in flags,
            slice_number=settings.slice_number,
            direct="f" in flags,
        )
        self._client = client
        self._restorer: Restorer | None = None
        self._verify = "verify" in flags
        self._memory_mib = (settings.write_mib or 1024) + settings.tuning.buffers
        self._early: dict[int, memoryview] = {}
        self._next = 0

    @property
    def is_ordered(self) -> bool:
        """Whether it can only be written from start to end."""
        return self._target.is_ordered

    def start(self) -> None:
        """Start the threads."""
        self._restorer = Restorer(
            self._target,
            memory_mib=self._memory_mib,
            on_chunk=self._chunk_done,
            verify=self._verify,
        )

    def _chunk_done(self, index: int, written: Written) -> None:
        data, zero, skipped = written.data_bytes, written.zero_bytes, written.skip_bytes
        kind = "." if data >= max(zero, skipped) else "z" if zero else "s"
        self._client.chunk_done(index, written.effective_bytes, kind)

    def submit(self, index: int, chunk: memoryview) -> None:
        """Give a chunk to the threads."""
        if self._restorer is None:
            return
        if not self.is_ordered:
            self._restorer.submit(index, chunk)
            return
        self._early[index] = chunk
        while self._next in self._early:
            self._restorer.submit(self._next, self._early.pop(self._next))
            self._next += 1

    def check(self) -> None:
        """Raise what has gone wrong in a thread."""
        if self._restorer is not None and self._restorer.room:
            self._restorer.wait_for_room()

    def finish(self) -> Figures:
        """Wait until all is on the disk."""
        figures = Figures()
        if self._restorer is not None:
            totals = self._restorer.finish()
            figures.effective, figures.actual = totals.effective, totals.actual
            figures.writes = totals.writes
        return figures

    def verify(self) -> int:
        """Compare the disk with what was received."""
        return self._restorer.verify() if self._restorer is not None else 0

    def abort(self) -> None:
        """Drop what is not yet written, and close the disk."""
        if self._restorer is not None:
            self._restorer.abort()
        self._target.close()


class RawDisk:
    """A file that takes chunks as they are."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._client = client
        self._size = client.receiver.size
        self._writer = RawWriter(settings.disk, self._size, self._chunk_done)

    def _chunk_done(self, index: int) -> None:
        length = min(CHUNK_SIZE, self._size - index * CHUNK_SIZE)
        self._client.chunk_done(index, length, ".")

    def submit(self, index: int, chunk: memoryview) -> None:
        """Give a chunk to the thread."""
        self._writer.submit(index, chunk)

    def check(self) -> None:
        """Raise what has gone wrong in the thread."""
        self._writer.check()

    def finish(self) -> Figures:
        """Wait until all is on the disk."""
        self._writer.finish()
        figures = Figures()
        figures.effective = figures.actual = self._size
        figures.writes = self._writer.writes
        return figures

    def verify(self) -> int:
        """Say that nothing was compared: there is no seal in a file that is not an image."""
        return 0

    def abort(self) -> None:
        """Drop what is not yet written."""
        self._writer.abort()


def _receive(settings: Settings, log: report.Report) -> None:
    interface = settings.interface or own_address(settings.group)
    session = Session(settings.group, settings.port, interface, "b" in settings.flags)
    delay = random.random() * settings.delay  # noqa: S311 - spreads the joins
    with Channel(session, exclusive=False, buffer_bytes=settings.buffer_bytes) as channel:
        _announce(settings, channel, log)
        time.sleep(delay)
        client = Client(settings, channel, log)
        try:
            _run(settings, client, log, delay)
        finally:
            client.close()


def _announce(settings: Settings, channel: Channel, log: report.Report) -> None:
    log.line(f"Maximum socket buffer size of {channel.buffer_bytes} bytes")
    if channel.session.is_multicast:
        log.line(f"Using Multicast {settings.group}")
    log.line(f"Bound to {settings.group}:{settings.port}")
    if settings.silence_chosen and settings.tuning.silence:
        seconds = f"{settings.tuning.silence:.0f}"
        log.line(f"Quit if no messages from server after {seconds} seconds")
    if settings.keep_alive and channel.session.is_multicast:
        log.line(f"Enabling MC keepalive at {settings.keep_alive} seconds")


def _run(settings: Settings, client: Client, log: report.Report, delay: float) -> None:
    disk: ImageDisk | RawDisk
    if "N" in settings.flags:
        client.join()
        disk = RawDisk(settings, client)
    else:
        disk = ImageDisk(settings, client)
    try:
        if isinstance(disk, ImageDisk):
            client.join()
            disk.start()
        client.fetch(disk)
        figures = disk.finish()
        if "verify" in settings.flags:
            log.line(f"Verified {disk.verify()} bytes")
        client.leave(figures, delay)
    finally:
        disk.abort()


def main(argv: list[str] | None = None) -> int:
    """Run the client; return its exit status. Signals end it as they end the original: at once."""
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    log = report.Report(2, time.monotonic())
    try:
        _receive(read_settings(sys.argv[1:] if argv is None else argv), log)
    except UsageError as error:
        log.write((f"rhubarbe-frisbee: {error}\n" if error.args else "") + USAGE)
        return error.exit_status
    except FrisbeeError as error:
        log.line(str(error))
        return error.exit_status
    except (ImagingError, NdzError, OSError) as error:
        log.line(str(error))
        return 1
    return 0
