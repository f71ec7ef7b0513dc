"""Where full chunks go: a disk that takes an image, or a file that takes them as they are."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

from rhubarbe.frisbee.packets import CHUNK_SIZE
from rhubarbe.frisbee.rawdisk import RawWriter
from rhubarbe.imaging.restore import Restorer, Target, Written

OnChunk = Callable[[int, int, str], None]
# called in a thread of the disk: number of the chunk, bytes of the disk that it settles, a mark


class Figures(NamedTuple):
    """What a disk has taken: bytes settled, bytes written, write operations."""

    effective: int
    actual: int
    writes: int


class Disk(Protocol):
    """Where full chunks go; ``submit``, ``check`` and ``finish`` raise what went wrong."""

    def submit(self, index: int, chunk: memoryview) -> None:
        """Take a chunk, whose buffer stays the disk's until it is reported done."""

    def check(self) -> None:
        """Raise what has gone wrong meanwhile."""

    def finish(self) -> Figures:
        """Wait until all is on the disk."""

    def verify(self) -> tuple[int, bool]:
        """Read it all back and compare; return how many bytes, and whether past the page cache."""


class ImageDisk:
    """A disk that takes the chunks of an image; one that is written in order gets them in order."""

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        path: str,
        on_chunk: OnChunk,
        *,
        memory_mib: int,
        zero_free: bool = False,
        as_device: bool = False,
        slice_number: int | None = None,
        direct: bool = False,
        verify: bool = False,
    ) -> None:
        self._target = Target.open(
            path,
            zero_free=zero_free,
            keep_size=as_device,
            slice_number=slice_number,
            direct=direct,
        )
        self._on_chunk = on_chunk
        self._memory_mib = memory_mib
        self._verify = verify
        self._restorer: Restorer | None = None
        self._early: dict[int, memoryview] = {}
        self._next = 0

    def __enter__(self) -> Self:
        """Enter: the threads end and the disk is closed on the way out."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is not yet written, and close the disk."""
        if self._restorer is not None:
            self._restorer.abort()
        self._target.close()

    def start(self, _size: int) -> None:
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
        self._on_chunk(index, written.effective_bytes, kind)

    @property
    def _running(self) -> Restorer:
        if self._restorer is None:
            raise RuntimeError("the disk was not started")
        return self._restorer

    def submit(self, index: int, chunk: memoryview) -> None:
        """Give a chunk to the threads."""
        if not self._target.is_ordered:
            self._running.submit(index, chunk)
            return
        self._early[index] = chunk
        while self._next in self._early:
            self._running.submit(self._next, self._early.pop(self._next))
            self._next += 1

    def check(self) -> None:
        """Raise what has gone wrong in a thread."""
        if self._running.room:
            self._running.wait_for_room()

    def finish(self) -> Figures:
        """Wait until all is on the disk."""
        totals = self._running.finish()
        return Figures(totals.effective, totals.actual, totals.writes)

    def verify(self) -> tuple[int, bool]:
        """Compare the disk with what was received."""
        return self._running.verify()


class RawDisk:
    """A file that takes chunks as they are."""

    def __init__(self, path: str, on_chunk: OnChunk, *, verify: bool = False) -> None:
        self._path = path
        self._verify = verify
        self._on_chunk = on_chunk
        self._size = 0
        self._writer: RawWriter | None = None

    def __enter__(self) -> Self:
        """Enter: the thread ends on the way out."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is not yet written."""
        if self._writer is not None:
            self._writer.abort()

    def start(self, size: int) -> None:
        """Open the file, which will have ``size`` bytes, and start the thread."""
        self._size = size
        self._writer = RawWriter(self._path, size, self._chunk_done, verify=self._verify)

    def _chunk_done(self, index: int) -> None:
        length = min(CHUNK_SIZE, self._size - index * CHUNK_SIZE)
        self._on_chunk(index, length, ".")

    @property
    def _running(self) -> RawWriter:
        if self._writer is None:
            raise RuntimeError("the file was not started")
        return self._writer

    def submit(self, index: int, chunk: memoryview) -> None:
        """Give a chunk to the thread."""
        self._running.submit(index, chunk)

    def check(self) -> None:
        """Raise what has gone wrong in the thread."""
        self._running.check()

    def finish(self) -> Figures:
        """Wait until all is on the disk."""
        self._running.finish()
        return Figures(self._size, self._size, self._running.writes)

    def verify(self) -> tuple[int, bool]:
        """Read the file back and compare."""
        return self._running.verify(), False
