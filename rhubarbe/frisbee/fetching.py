"""The client at work: the receiving machine with its sockets, a clock and a disk."""

import os
import random
import select
import socket
import threading
import time
from collections import deque
from typing import NamedTuple, Self

from rhubarbe.frisbee import report
from rhubarbe.frisbee.chunks import ChunkBuffers
from rhubarbe.frisbee.disks import ChunkSink, Figures
from rhubarbe.frisbee.intake import Intake
from rhubarbe.frisbee.multicast import KEEP_ALIVE_S, Channel
from rhubarbe.frisbee.packets import BLOCK_SIZE, Leave2, Statistics, encode, marked
from rhubarbe.frisbee.peers import Peers
from rhubarbe.frisbee.receiving import TICK, Receiver
from rhubarbe.frisbee.tuning import Tuning

_GIGABYTE = 10**9


class _Done(NamedTuple):
    """A chunk that the disk is done with: written, or not what it should be."""

    chunk: int
    is_written: bool


class Fetching:
    """A session from joining to leaving; ``chunks``, unless 0, is how many the file must have."""

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        channel: Channel,
        tuning: Tuning,
        log: report.LineReport,
        *,
        raw: bool = False,
        server: str = "",
        chunks: int = 0,
        keep_alive: int = KEEP_ALIVE_S,
        quiet: bool = False,
        debug: bool = False,
    ) -> None:
        self._channel = channel
        self._log = log
        self._keep_alive_every = keep_alive
        self._quiet = quiet
        self._debugging = debug
        self.id = random.SystemRandom().getrandbits(31)
        self._start = self._reminded_at = self._joined_at = time.monotonic()
        self._buffers = ChunkBuffers()
        self.receiver = Receiver(
            self.id,
            tuning,
            now=self._start,
            raw=raw,
            chunks=chunks,
            forget=self._buffers.release,
        )
        self.peers = Peers(server)
        self.intake = Intake(
            channel, self.receiver, self._buffers, self.peers, self._submit, self._debug
        )
        self._disk: ChunkSink | None = None
        self._early: list[int] = []  # chunks that are full before there is a disk to write them to
        self._senders: dict[int, str] = {}
        self._rejected: set[int] = set()
        self._done: deque[_Done] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._progress = threading.Lock()
        self._effective = self._left = 0

    def __enter__(self) -> Self:
        """Enter: the descriptor by which threads wake the loop is closed on the way out."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the descriptor by which the disk's threads wake the loop; they have ended."""
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
        self._tell(_Done(index, is_written=True))

    def chunk_rejected(self, index: int) -> None:
        """Note, in any thread, that the disk does not take a chunk: it is not the image's."""
        self._tell(_Done(index, is_written=False))

    def _tell(self, done: _Done) -> None:
        self._done.append(done)
        os.eventfd_write(self._wake, 1)

    # -- the loop --------------------------------------------------------------------------------

    def join(self) -> None:
        """Join the session: the size of the file is known then.

        The server has to know of us even when a reply to another client tells the size already.
        """
        self._send(time.monotonic(), more=False)
        while not self.receiver.joined:
            self._turn()
        now = self._joined_at = time.monotonic()
        self._left = self.receiver.chunks
        self._log.line(
            f"Joined the team after {now - self._start:.0f} sec. ID is {self.id}. "
            f"File is {self.receiver.chunks} chunks ({self.receiver.size} bytes)"
        )

    def fetch(self, disk: ChunkSink) -> None:
        """Receive all the chunks and give them to ``disk``, until it has taken them."""
        self._disk = disk
        for chunk in self._early:
            self._submit(chunk)
        while not self.receiver.finished:
            self._turn()
            disk.check()

    def _turn(self) -> None:
        """Wait for something to happen, take it, and send what is due.

        What is due waits until a look at the sockets finds nothing to be received.
        """
        pause = max(0.0, self.receiver.deadline() - time.monotonic())
        waiting: list[int | socket.socket] = [self._wake, *self._channel.sockets]
        ready = select.select(waiting, (), (), min(pause, 1.0))[0]
        now = time.monotonic()
        if self._wake in ready:
            os.eventfd_read(self._wake)
            self._recover_buffers(now)
        more = False
        for each in self._channel.sockets:
            if each in ready:
                self.intake.receive(each, now)
                more = True
        self._send(now, more=more)
        self._keep_alive(now)
        while self._channel.remarks:
            self._log.line(self._channel.remarks.pop(0))

    def _send(self, now: float, *, more: bool) -> None:
        for packet in self.receiver.poll(now, more=more):
            self._channel.send(encode(marked(packet), self._channel.source))

    def _keep_alive(self, now: float) -> None:
        every = self._keep_alive_every
        if every and now - max(self._reminded_at, self.intake.heard_at) >= every:
            self._channel.keep_alive()
            self._reminded_at = now

    # -- chunks ----------------------------------------------------------------------------------

    def _submit(self, chunk: int) -> None:
        if self._disk is None:
            self._early.append(chunk)
            return
        blocks = self.receiver.valid(chunk).bit_length()
        self._senders[chunk] = self.peers.server
        self._disk.submit(chunk, self._buffers.of(chunk).data[: blocks * BLOCK_SIZE])

    def _recover_buffers(self, now: float) -> None:
        while self._done:
            chunk, is_written = self._done.popleft()
            self._buffers.release(chunk)
            sender = self._senders.pop(chunk)
            if is_written:
                self.receiver.written(now)
                self.peers.settle()
            else:
                self._reject(chunk, sender, now)

    def _reject(self, chunk: int, sender: str, now: float) -> None:
        if not self._rejected:
            self._log.line(
                f"Chunk {chunk} is not the image's, and is asked for again: {self.peers.blame}"
            )
        self._rejected.add(chunk)
        self.receiver.reject(chunk, now)
        if sender == self.peers.server and self.peers.turn():
            self.receiver.start_over()
            self._log.line(f"Blocks are taken from {self.peers.server} now, not from {sender}")

    def _debug(self, text: str) -> None:
        if self._debugging:
            self._log.line(text)

    @property
    def oddities(self) -> list[str]:
        """Return a line for each address that sent something in the server's place or name."""
        return self.peers.described(self.rejected, self.rejections)

    @property
    def rejected(self) -> int:
        """How many chunks came at least once that the manifest does not vouch for."""
        return len(self._rejected)

    @property
    def rejections(self) -> int:
        """How often such a chunk came."""
        return self.receiver.counts.rejections

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
        for oddity in self.oddities:
            self._log.line(oddity)
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
