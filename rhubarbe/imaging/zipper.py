"""From a disk to chunks: read and deflated by several threads, packed in order."""

import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Self

from rhubarbe.imaging.errors import ImagingError
from rhubarbe.imaging.filesystems.usage import Range
from rhubarbe.imaging.source import Source
from rhubarbe.ndz.deflate import BATCH, BATCH_EXTENTS, Batch, deflate
from rhubarbe.ndz.header import SECTOR, Region

_BATCH_SECTORS = BATCH // SECTOR
_BATCHES_A_MIB = 3
"""Read and deflated batches that one MiB holds, with what Python adds to them."""


@dataclass(slots=True)
class _Job:
    """One batch on its way through the threads."""

    extents: tuple[Region, ...]
    data: bytes | None = None
    result: Batch | None = None
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
    whose data is taken as zeros.
    """

    def __init__(
        self,
        source: Source,
        *,
        level: int,
        memory_mib: int,
        base: int = 0,
        blank: list[Range] | None = None,
    ) -> None:
        self._source = source
        self._level = level
        self._base = base
        self._blank = blank or []
        self._ahead = max(memory_mib, 8) * _BATCHES_A_MIB
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._changed = threading.Condition()
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
        """Yield the ranges' batches in order, deflated; raise SourceError."""
        yield from self._in_order(_Job(extents) for extents in batches_of(ranges))

    def zip_stream(self) -> Iterator[Batch]:
        """Yield what the source, a stream, holds, from sector 0; its end is padded with zeros."""
        yield from self._in_order(self._stream_jobs())

    def _stream_jobs(self) -> Iterator[_Job]:
        sector = 0
        while data := self._source.read_next(BATCH):
            size = -(-len(data) // SECTOR)
            yield _Job((Region(sector, size),), data.ljust(size * SECTOR, b"\0"))
            self._source.size += len(data)
            sector += size

    def _in_order(self, jobs: Iterator[_Job]) -> Iterator[Batch]:
        under_way: deque[_Job] = deque()
        for job in jobs:
            under_way.append(job)
            self._jobs.put(job)
            while under_way and (len(under_way) >= self._ahead or under_way[0].result):
                yield self._take(under_way.popleft())
        while under_way:
            yield self._take(under_way.popleft())

    def _take(self, job: _Job) -> Batch:
        with self._changed:
            self._changed.wait_for(lambda: job.result or job.error)
        if job.error:
            self._drop_waiting()
            raise job.error
        assert job.result is not None  # noqa: S101
        return job.result

    def _drop_waiting(self) -> None:
        while not self._jobs.empty():
            self._jobs.get()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error = None, None
            try:
                result = deflate(self._read(job), self._level)
            except (ImagingError, OSError) as caught:
                error = caught
            with self._changed:
                job.data, job.result, job.error = None, result, error
                self._changed.notify()

    def _read(self, job: _Job) -> Batch:
        if job.data is not None:
            return Batch(job.extents, memoryview(job.data))
        placed = tuple(Region(e.start + self._base, e.size) for e in job.extents)
        data, untrue = self._source.read_sectors(placed)
        if self._blank and not data.readonly:
            self._make_blank(job.extents, data)
        moved = tuple(Region(run.start - self._base, run.size) for run in untrue)
        return replace(Batch(job.extents, data), untrue=moved)

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
