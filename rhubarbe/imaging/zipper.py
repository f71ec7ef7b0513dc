"""From a disk to chunks: read and deflated by several threads, packed in order."""

import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Self

from rhubarbe.disk.ranges import Range
from rhubarbe.imaging.errors import ImagingError
from rhubarbe.imaging.source import Source
from rhubarbe.ndz.deflate import BATCH, BATCH_EXTENTS, Batch, Deflater
from rhubarbe.ndz.header import SECTOR, Region

_BATCH_SECTORS = BATCH // SECTOR
_BATCHES_A_JOB = 4
"""What a thread takes at a time: less, and threads that hand over take a good part of the time."""

_JOB = BATCH * _BATCHES_A_JOB
_JOBS_A_MIB = 1
"""Jobs, read and deflated, that one MiB holds, with what Python adds to them."""


@dataclass(slots=True)
class _Job:
    """Some batches on their way through the threads, with the memory that they are read into."""

    batches: list[Batch]
    buffer: bytearray | None = None
    is_done: bool = False
    error: ImagingError | OSError | None = None


def batches_of(ranges: list[Range]) -> Iterator[tuple[Region, ...]]:
    """Cut ascending ranges of sectors into batches of at most 128 KiB."""
    batch: list[Region] = []
    room = _BATCH_SECTORS
    for start, end in ranges:
        while start < end:
            size = min(end - start, room)
            batch.append(Region(start, size))
            start += size
            room -= size
            if not room or len(batch) == BATCH_EXTENTS:
                yield tuple(batch)
                batch, room = [], _BATCH_SECTORS
    if batch:
        yield tuple(batch)


class Zipper:
    """Threads that read and deflate batches; they come out in order, in a bounded memory.

    `base` is the sector of the source where the image begins, `blank` the ranges of the image
    whose data is taken as zeros, `patches` the sectors of it that are other than in the source.
    """

    def __init__(
        self,
        source: Source,
        *,
        level: int,
        memory_mib: int,
        base: int = 0,
        blank: list[Range] | None = None,
        patches: Mapping[int, bytes] | None = None,
    ) -> None:
        self._source = source
        self._level = level
        self._base = base
        self._blank = blank or []
        self._patches = patches or {}
        self._ahead = max(memory_mib, 8) * _JOBS_A_MIB
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._under_way: deque[_Job] = deque()
        self._spare_buffers: list[bytearray] = []
        count = len(os.sched_getaffinity(0))
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for _thread in self._threads:
            self._jobs.put(None)
        if kind is None or issubclass(kind, Exception):
            for thread in self._threads:
                thread.join()

    def zip(self, ranges: list[Range]) -> Iterator[Batch]:
        """Yield the ranges' batches in order, deflated; raise SourceError.

        The data of a batch is valid until the next one is asked for.
        """
        batches = (Batch(extents, memoryview(b"")) for extents in batches_of(ranges))
        while some := list(islice(batches, _BATCHES_A_JOB)):
            yield from self._put(_Job(some, self._buffer()))
        yield from self._rest()

    def zip_stream(self) -> Iterator[Batch]:
        """Yield what the source, a stream, holds, from sector 0; its end is padded with zeros."""
        sector = 0
        while data := self._source.read_next(BATCH):
            size = -(-len(data) // SECTOR)
            padded = memoryview(data.ljust(size * SECTOR, b"\0"))
            self._source.size += len(data)
            yield from self._put(_Job([Batch((Region(sector, size),), padded)]))
            sector += size
        yield from self._rest()

    def _buffer(self) -> bytearray:
        # Used again and again: new memory costs the kernel as much time as reading into it.
        return self._spare_buffers.pop() if self._spare_buffers else bytearray(_JOB)

    def _put(self, job: _Job) -> Iterator[Batch]:
        self._under_way.append(job)
        self._jobs.put(job)
        while self._under_way and (
            len(self._under_way) >= self._ahead or self._under_way[0].is_done
        ):
            yield from self._take()

    def _rest(self) -> Iterator[Batch]:
        while self._under_way:
            yield from self._take()

    def _take(self) -> Iterator[Batch]:
        job = self._under_way.popleft()
        with self._changed:
            self._changed.wait_for(lambda: job.is_done)
        if job.error:
            self._drop_waiting()
            raise job.error
        yield from job.batches
        if job.buffer:
            self._spare_buffers.append(job.buffer)

    def _drop_waiting(self) -> None:
        while not self._jobs.empty():
            self._jobs.get()

    def _work(self) -> None:
        deflater = Deflater(self._level)
        while (job := self._jobs.get()) is not None:
            try:
                if job.buffer:
                    job.batches = self._read(job.batches, memoryview(job.buffer))
                job.batches = [deflater.deflate(batch) for batch in job.batches]
            except (ImagingError, OSError) as error:
                job.error = error
            with self._changed:
                job.is_done = True
                self._changed.notify()

    def _read(self, batches: list[Batch], buffer: memoryview) -> list[Batch]:
        read = []
        for batch in batches:
            part = buffer[: batch.sectors * SECTOR]
            buffer = buffer[len(part) :]
            read.append(self._read_one(batch.extents, part))
        return read

    def _read_one(self, extents: tuple[Region, ...], part: memoryview) -> Batch:
        placed = tuple(Region(e.start + self._base, e.size) for e in extents)
        untrue = self._source.read_sectors(placed, part)
        if self._blank:
            self._make_blank(extents, part)
        if self._patches:
            self._patch(extents, part)
        moved = tuple(Region(run.start - self._base, run.size) for run in untrue)
        return Batch(extents, part, untrue=moved)

    def _patch(self, extents: tuple[Region, ...], data: memoryview) -> None:
        before = 0
        for extent in extents:
            for sector in self._patches.keys() & range(extent.start, extent.end):
                at = (before + sector - extent.start) * SECTOR
                data[at : at + SECTOR] = self._patches[sector]
            before += extent.size

    def _make_blank(self, extents: tuple[Region, ...], data: memoryview) -> None:
        at = 0
        for extent in extents:
            number = max(bisect_right(self._blank, (extent.start, 0)) - 1, 0)
            while number < len(self._blank) and self._blank[number][0] < extent.end:
                start = max(self._blank[number][0], extent.start) - extent.start
                end = min(self._blank[number][1], extent.end) - extent.start
                if start < end:
                    data[at + start * SECTOR : at + end * SECTOR] = bytes((end - start) * SECTOR)
                number += 1
            at += extent.size * SECTOR
