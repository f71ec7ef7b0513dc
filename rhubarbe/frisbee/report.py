"""What server and client print, in the words that scripts for the original programs look for."""

import os
import threading
import time
from contextlib import suppress

from rhubarbe.frisbee.packets import Statistics
from rhubarbe.frisbee.sending import Counters

_DOTS_PER_LINE = 67
_PROGRESS_INTERVAL_S = 0.25


class LineReport:
    """Writes lines and dots of several threads to a file: none held back, none inside another."""

    def __init__(self, descriptor: int, start: float) -> None:
        self._descriptor = descriptor
        self._start = start
        self._column = 0
        self._lock = threading.Lock()

    @property
    def is_clear(self) -> bool:
        """Whether the cursor is at the start of a line."""
        return not self._column

    def write(self, text: str) -> None:
        """Write ``text`` as it is; a reader that is gone is no reason to fail."""
        data = memoryview(text.encode(errors="backslashreplace"))
        with suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]

    def line(self, text: str) -> None:
        """Write a line of its own, below any dots."""
        with self._lock:
            self.write(("\n" if self._column else "") + text + "\n")
            self._column = 0

    def dots(self, marks: str, left: int, now: float) -> None:
        """Write progress marks; a full line ends with seconds and chunks left."""
        with self._lock:
            for mark in marks:
                self._column += 1
                if self._column < _DOTS_PER_LINE:
                    self.write(mark)
                else:
                    self.write(f"{mark}{int(now - self._start):4d} {left:6d}\n")
                    self._column = 0


class Events:
    """Tells programs what people read: one JSON object a line, each written at once.

    Each has `time` (ISO 8601 with milliseconds and zone) and `event`; names end in what they count.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._next_progress = 0.0

    def tell(self, event: str, **fields: object) -> None:
        """Write an event, unless nobody is to be told."""
        if self._descriptor is None:
            return
        import json  # importing both takes longer than all else that a client starts with
        from datetime import datetime

        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        line = memoryview(json.dumps({"time": now, "event": event} | fields).encode() + b"\n")
        with self._lock, suppress(OSError):
            while line:
                line = line[os.write(self._descriptor, line) :]

    def progress(self, now: float, left: int, **fields: object) -> None:
        """Write a Progress event: at most four a second, but always the last one."""
        if now >= self._next_progress or not left:
            self._next_progress = now + _PROGRESS_INTERVAL_S
            self.tell("Progress", chunks_left=left, **fields)


def clock() -> str:
    """Return the time of day as the server's lines show it."""
    return time.strftime("%H:%M:%S")


def describe(client: int, told: Statistics, buffer_kb: int | None = None) -> str:
    """Return the lines on one client's session, as the client itself and its server print them."""
    seconds = max(1, told.run_seconds)
    buffer = "" if buffer_kb is None else f"  sockbuf size (KB):    {buffer_kb}\n"
    return f"""\
Client {client} Performance:
  runtime:                {told.run_seconds}.{told.run_milliseconds:03d} sec
  start delay:            {told.delay_milliseconds // 1000}.{told.delay_milliseconds % 1000:03d} sec
  real data written:      {told.written_bytes} ({told.written_bytes // seconds} Bps)
  effective data written: {told.effective_bytes} ({told.effective_bytes // seconds} Bps)
Client {client} Params:
  chunk/block size:     1024/1024
  chunk buffers:        {told.chunk_buffers}
  disk buffering (MB):  {told.write_memory_mb}
{buffer}\
  readahead/inprogress: {told.read_ahead}/{told.in_progress}
  recv timo/count:      {told.tick_us}/{told.idle_ticks}
  re-request delay:     {told.redo_delay_us}
  writer idle delay:    {told.idle_delay_us}
  randomize requests:   {told.randomized}
Client {client} Stats:
  net thread idle/blocked:        {told.receive_idles}/{told.no_free_chunks}
  decompress thread idle/blocked: {told.no_chunks_ready}/{told.decompress_blocked}
  disk thread idle:        {told.writer_idles}
  join/request msgs:       {told.join_attempts}/{told.requests}
  dupblocks(chunk done):   {told.duplicate_chunk}
  dupblocks(in progress):  {told.duplicate_block}
  partial requests/blocks: {told.partial_requests}/{told.lost_blocks}
  re-requests:             {told.repeated_requests}
  full chunk re-requests:  {told.full_repeats}
  partially-filled drops:  {told.partial_drops}
"""


def summarize(counters: Counters, joins: int, leaves: int, file_blocks: int, seconds: float) -> str:
    """Return the statistics of a server's session."""
    times = os.times()
    repeated = max(0, counters.blocks_sent - file_blocks)
    return f"""\
Stats:
  service time:      {seconds:.3f} sec
  user/sys CPU time: {times.user:.3f}/{times.system:.3f}
  msgs in/out:       {counters.messages_in}/{counters.messages_out}
  joins/leaves:      {joins}/{leaves}
  requests:          {counters.requests} ({counters.merged} merged in queue)
  partial req/blks:  {counters.partial_requests}/{counters.partial_blocks}
  duplicate req:     {counters.duplicates}
  client re-req:     {counters.repeated_requests}
  1k blocks sent:    {counters.blocks_sent} ({repeated} repeated)
  trains sent:       {counters.trains_sent}
  net idle/blocked:  {counters.idles}/0
  send intvl/missed: {counters.intervals}/{counters.missed}
  sendbuf overruns:  {counters.overruns}
  max workq size:    {counters.longest_queue} elts, {counters.most_blocks} blocks
"""
