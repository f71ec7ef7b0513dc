"""The client at work: the receiving machine with its sockets, a clock and a disk."""

import os
import random
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from rhubarbe.frisbee import report
from rhubarbe.frisbee.chunks import ChunkBuffers, LandingStrip, store_train
from rhubarbe.frisbee.disks import Disk, Figures
from rhubarbe.frisbee.errors import MalformedPacket
from rhubarbe.frisbee.multicast import Arrival, Channel
from rhubarbe.frisbee.packets import (
    BLOCK_BYTES,
    BLOCK_SIZE,
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
from rhubarbe.frisbee.receiving import TICK, Receiver
from rhubarbe.frisbee.tuning import Tuning

if TYPE_CHECKING:
    import socket

_ARRIVALS_PER_TURN = 64
_GIGABYTE = 10**9


class Fetching:
    """A session from joining to leaving."""

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        channel: Channel,
        tuning: Tuning,
        log: report.Report,
        *,
        raw: bool = False,
        server: str = "",
        keep_alive: int = 0,
        quiet: bool = False,
        debug: bool = False,
    ) -> None:
        self._channel = channel
        self._log = log
        self._server = server
        self._server_bytes = b""
        self._keep_alive_every = keep_alive
        self._quiet = quiet
        self._debugging = debug
        self.id = random.SystemRandom().getrandbits(31)
        self._start = self._heard_at = self._joined_at = time.monotonic()
        self._buffers = ChunkBuffers()
        forget = self._buffers.release
        self.receiver = Receiver(self.id, tuning, now=self._start, raw=raw, forget=forget)
        self._strip = LandingStrip(self.receiver, self._buffers)
        self._disk: Disk | None = None
        self._early: list[int] = []  # full before the disk is there: a late joiner's first
        self._done: deque[int] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._progress = threading.Lock()
        self._effective = self._left = 0

    def __enter__(self) -> Self:
        """Enter: what the threads wake us by closes on the way out."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what the threads of the disk wake us by; they have ended."""
        os.close(self._wake)

    def chunk_done(self, index: int, effective: int, kind: str) -> None:
        """Note, in a thread of the disk, that a chunk is written.

        ``effective`` bytes of the disk are settled by it; ``kind`` marks each 10^9 of them.
        """
        with self._progress:
            gigabytes = self._effective // _GIGABYTE
            self._effective += effective
            self._left -= 1
            if not self._quiet:
                marks = "." + kind * (self._effective // _GIGABYTE - gigabytes)
                self._log.dots(marks, self._left, time.monotonic())
        self._done.append(index)
        os.eventfd_write(self._wake, 1)

    # -- the loop --------------------------------------------------------------------------------

    def join(self) -> None:
        """Join the session: the size of the file is known then."""
        while not self.receiver.joined:
            self._turn()
        now = self._joined_at = time.monotonic()
        self._left = self.receiver.chunks
        self._log.line(
            f"Joined the team after {now - self._start:.0f} sec. ID is {self.id}. "
            f"File is {self.receiver.chunks} chunks ({self.receiver.size} bytes)"
        )

    def fetch(self, disk: Disk) -> None:
        """Receive all the chunks and give them to ``disk``."""
        self._disk = disk
        self._submit(self._early)
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
        waiting: list[int | socket.socket] = [self._wake, *self._channel.sockets]
        ready = select.select(waiting, (), (), min(pause, 1.0))[0]
        if self._wake in ready:
            os.eventfd_read(self._wake)
        now = time.monotonic()
        for each in self._channel.sockets:
            if each in ready:
                self._receive(each, now)
        self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        every = self._keep_alive_every
        if every and now - self._heard_at >= every:
            self._channel.keep_alive()
            self._heard_at = now

    def _recover_buffers(self) -> None:
        while self._done:
            self._buffers.release(self._done.popleft())
            self.receiver.written(now)

    # -- packets ---------------------------------------------------------------------------------

    def _receive(self, ready: "socket.socket", now: float) -> None:
        for _ in range(_ARRIVALS_PER_TURN):
            receipt = self._channel.receive_into(ready, self._strip.room())
            if receipt is None:
                return
            length, segment, address, port = receipt
            if segment == BLOCK_BYTES and port == self._channel.port and self._is_server(address):
                completed = self._strip.landed(length, self._server_bytes, now)
                if completed is not None:
                    self._heard_at = now
                    self._submit(completed)
                    continue
            self._take(Arrival(self._strip.gather(length), segment, address, port), now)

    def _take(self, arrival: Arrival, now: float) -> None:
        data, segment, address, port = arrival
        if address != self._channel.session.interface:  # we hear ourselves on loopback
            self._heard_at = now
        if port != self._channel.port:
            self._debug(f"Bad message port ({port} != {self._channel.port})")
            return
        whole = len(data) - len(data) % segment
        if segment == BLOCK_BYTES and self._is_server(address):
            completed = store_train(
                data[:whole], self._server_bytes, self.receiver, self._buffers, now
            )
            if completed is not None:
                self._strip.expect_after(data[whole - BLOCK_BYTES : whole])
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
        if address not in (claimed, self._channel.session.group):
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
        if self._server in ("", address):
            self.receiver.receive(packet, now)
            if self.receiver.joined:
                self._server = address
                self._server_bytes = bytes(map(int, address.split(".")))

    def _submit(self, completed: list[int]) -> None:
        for chunk in completed:
            blocks = self.receiver.valid(chunk).bit_length()
            view = self._buffers.of(chunk).data[: blocks * BLOCK_SIZE]
            if self._disk is None:
                self._early.append(chunk)
            else:
                self._disk.submit(chunk, view)

    def _debug(self, text: str) -> None:
        if self._debugging:
            self._log.line(text)

    # -- the end ---------------------------------------------------------------------------------

    def leave(self, figures: Figures, *, write_mib: int, delay: float) -> None:
        """Tell the server and the user how it went."""
        elapsed = time.monotonic() - self._joined_at
        told = self._statistics(figures, elapsed)._replace(
            delay_milliseconds=int(delay * 1000), write_memory_mb=write_mib
        )
        packet = Leave2(self.id, int(elapsed), told)
        self._channel.send(encode(packet, self._channel.source))
        if not self._quiet:
            text = report.describe(self.id, told, self._channel.buffer_bytes >> 10)
            self._log.line("\n" + text if self._log.is_clear else text)
        self._log.line(f"Left the team after {elapsed:.0f} seconds on the field!")
        self._log.line(f"Wrote {figures.effective} bytes ({figures.actual} actual)")
        self._log.line(f"0 0 {figures.writes}")

    def _statistics(self, figures: Figures, elapsed: float) -> Statistics:
        counts, tuning = self.receiver.counts, self.receiver.tuning
        return Statistics(
            run_seconds=int(elapsed),
            run_milliseconds=int(elapsed * 1000) % 1000,
            written_bytes=figures.actual,
            effective_bytes=figures.effective,
            chunk_buffers=tuning.buffers,
            read_ahead=tuning.read_ahead,
            in_progress=tuning.in_progress,
            tick_us=int(TICK * 1e6),
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
            lost_blocks=counts.lost_blocks,
            repeated_requests=counts.repeated_requests,
            partial_drops=counts.partial_drops,
            full_repeats=counts.full_repeats,
        )
