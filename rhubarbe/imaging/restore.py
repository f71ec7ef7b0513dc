"""From chunks to a disk: inflated and written by several threads, in a bounded memory.

Imageunzip and the frisbee client share it: chunks come in any order, each is checked against its
seal, inflated and written by one thread; the free space is left alone or made zero.
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue

from rhubarbe.imaging.errors import ImagingError
from rhubarbe.imaging.firstchunk import FirstChunk
from rhubarbe.imaging.fitting import ImageExtent, TargetDisk, fit, refuse_sector_size
from rhubarbe.imaging.formerlife import refuse_former_life
from rhubarbe.imaging.placing import ChunkPlacer
from rhubarbe.imaging.target import Target
from rhubarbe.imaging.vouching import extent_of
from rhubarbe.ndz.chunkset import Chunks, ChunkSet, SeveralImages, VouchedChunks, check_vouched
from rhubarbe.ndz.errors import NdzError, UnvouchedChunk
from rhubarbe.ndz.header import CHUNK
from rhubarbe.ndz.manifest import Manifest

MEMORY_MIB = 128
_OVERHEAD_MIB = 4  # a thread's: the piece that it inflates, the inflater's tables, one chunk

Chunk = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one chunk, in bytes; `skip_bytes` of free space were left alone."""

    data_bytes: int = 0
    zero_bytes: int = 0
    skip_bytes: int = 0

    @property
    def effective_bytes(self) -> int:
        """How much of the disk the chunk settles."""
        return self.data_bytes + self.zero_bytes + self.skip_bytes

    @property
    def actual_bytes(self) -> int:
        """How much of it was written or zeroed."""
        return self.data_bytes + self.zero_bytes


@dataclass(frozen=True, slots=True)
class Totals:
    """A finished restore, in bytes; `writes` counts the write operations."""

    chunks: int = 0
    decompressed: int = 0
    effective: int = 0
    actual: int = 0
    data: int = 0
    zero: int = 0
    writes: int = 0


class Restorer:
    """Threads that inflate chunks and write them; bounded memory.

    `on_chunk(index, written)` is called from one of them once a chunk is on its way to the disk.
    With a `manifest`, no chunk is written that it does not vouch for: that is an error, unless
    `on_unvouched(index)` is there, which is called from a thread; the chunk may come again then.
    Where there are several `images`, of so many chunks each, these are numbered through.
    """

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        target: Target,
        *,
        threads: int | None = None,
        memory_mib: int = MEMORY_MIB,
        on_chunk: Callable[[int, Written], None] | None = None,
        verify: bool = False,
        manifest: Manifest | None = None,
        on_unvouched: Callable[[int], None] | None = None,
        images: Sequence[int] = (),
    ) -> None:
        count = threads or len(os.sched_getaffinity(0))
        self._limit = max(memory_mib - count * _OVERHEAD_MIB, count + 1)
        self._target = target
        self._on_chunk = on_chunk
        self._manifest = manifest
        self._on_unvouched = on_unvouched
        self._chunks = _chunks(manifest, images)
        self._placer = ChunkPlacer(target, keep_checks=verify, manifest=manifest)
        self._queue: SimpleQueue[tuple[int, Chunk] | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._pending = 0
        self._error: ImagingError | NdzError | OSError | None = None
        self._is_over = False
        self._totals = Totals()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def begin(self, first: Chunk, extent: ImageExtent | None) -> tuple[str, ...]:
        """Look at the image's first chunk, and make the target ready for the image.

        To be called before any chunk is submitted; `extent` is None where it is not known. Returns
        remarks for the user. Raises TargetError where the target cannot take the image, and
        DamagedChunk where the manifest does not vouch for the chunk: nothing was written then.
        """
        target = self._target
        if self._manifest:
            check_vouched(self._manifest, first, 0)
            extent = extent or extent_of(self._manifest)
        if target.is_fresh or target.is_ordered or target.size is None:
            return ()
        disk = TargetDisk(target.name, target.size, target.sector_size)
        chunk = FirstChunk(first)
        if target.is_slice:
            refuse_sector_size(chunk, disk)
        else:
            self._placer.fit = fit(chunk, extent, disk)
        if extent and (target.is_slice or chunk.table is None):
            refuse_former_life(target, extent.covered)
        self._placer.clear()
        return self._placer.fit.remarks

    @property
    def has_lost(self) -> bool:
        """Whether data was left out that is beyond the end of the disk, and in no partition."""
        return self._placer.has_lost

    @property
    def room(self) -> int:
        """How many more chunks the memory allows right now."""
        return max(self._limit - self._pending, 0)

    def wait_for_room(self) -> None:
        """Wait until one more chunk may be submitted; raise the first error of a thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending < self._limit or self._error)
        self._raise_error()

    def submit(self, index: int, chunk: Chunk) -> None:
        """Give a chunk to the threads; raise the first error of one of them.

        The buffer is theirs until `on_chunk(index, written)` was called.
        """
        self._raise_error()
        if len(chunk) != CHUNK:
            raise NdzError(f"chunk {index}: {len(chunk)} bytes, not {CHUNK}")
        with self._changed:
            self._pending += 1
        self._queue.put((index, chunk))

    def finish(self) -> Totals:
        """Wait for all the chunks, settle the rest of the disk, and sync it.

        Raises NdzError where chunks of the image are missing, and the first error of a thread.
        """
        self._end_threads()
        self._raise_error()
        self._chunks.finish()
        zeroed = self._placer.finish()
        self._target.sync()
        return replace(
            self._totals,
            effective=self._totals.effective + zeroed,
            actual=self._totals.actual + zeroed,
            zero=self._totals.zero + zeroed,
            writes=self._placer.writes,
        )

    @property
    def unknown_relocations(self) -> list[int]:
        """Kinds of relocation in the image that were left alone, ascending."""
        return sorted(self._placer.unknown_relocations)

    def verify(self) -> tuple[int, bool]:
        """Read back from the disk itself what was written; return (bytes compared, from the disk).

        Raises VerifyError, which names the chunk, where the disk holds anything else.
        """
        from rhubarbe.imaging.verify import verify_target  # only on demand

        return verify_target(self._target, self._placer.checks, self._manifest)

    def abort(self) -> None:
        """Drop what is not yet written, and end the threads."""
        self._is_over = True
        self._placer.abort()
        self._end_threads()

    def _end_threads(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _raise_error(self) -> None:
        if self._error:
            raise self._error

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            written = None
            try:
                if not self._is_over:
                    written = self._restore(*job)
            except (ImagingError, NdzError, OSError) as error:
                self._fail(error)
            index = job[0]
            del job  # the buffer is the caller's again
            self._done(index, written)

    def _restore(self, index: int, chunk: Chunk) -> Written | None:
        try:
            opened = self._chunks.open(chunk, index)
        except UnvouchedChunk:
            if self._on_unvouched is None:
                raise
            self._on_unvouched(index)
            return None
        header = opened.header
        placed = self._placer.place(chunk, header, opened.seal)
        free = (header.last - header.first - header.data_sectors) * 512
        is_zeroed = self._target.zero_free
        return Written(
            data_bytes=placed.data_bytes,
            zero_bytes=free if is_zeroed else 0,
            skip_bytes=0 if is_zeroed else free,
        )

    def _fail(self, error: ImagingError | NdzError | OSError) -> None:
        with self._changed:
            self._error = self._error or error
            self._is_over = True
            self._changed.notify_all()
        self._placer.abort()

    def _done(self, index: int, written: Written | None) -> None:
        if written is not None:
            self._count(written)
            if self._on_chunk:
                self._on_chunk(index, written)
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()

    def _count(self, written: Written) -> None:
        with self._changed:
            before = self._totals
            self._totals = Totals(
                chunks=before.chunks + 1,
                decompressed=before.decompressed + written.data_bytes,
                effective=before.effective + written.effective_bytes,
                actual=before.actual + written.actual_bytes,
                data=before.data + written.data_bytes,
                zero=before.zero + written.zero_bytes,
            )


def _chunks(manifest: Manifest | None, images: Sequence[int]) -> Chunks:
    if manifest:
        return VouchedChunks(manifest)
    return SeveralImages(images) if len(images) > 1 else ChunkSet()


__all__ = ["Restorer", "Target", "Totals", "Written"]
