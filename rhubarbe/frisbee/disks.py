"""Where full chunks go: a disk that takes an image, or a file that takes them as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from rhubarbe.frisbee.admission import Expected, Gate
from rhubarbe.frisbee.packets import CHUNK_SIZE
from rhubarbe.frisbee.rawdisk import RawWriter
from rhubarbe.imaging.fitting import LOST, ImageExtent
from rhubarbe.imaging.restore import Restorer, Target, Written
from rhubarbe.ndz.manifest import Manifest

# A thread of the disk tells: number of the chunk, bytes of the disk that it settles, a mark.
OnChunk = Callable[[int, int, str], None]
# Any thread tells: number of a chunk that the manifest does not vouch for; its buffer is free.
OnReject = Callable[[int], None]


class ManifestCheck(NamedTuple):
    """A manifest, which says what each chunk must be, and who is told of one that is not."""

    manifest: "Manifest"
    on_reject: OnReject

    def admits(self, index: int, chunk: bytes | bytearray | memoryview) -> bool:
        """Whether a chunk is what it must be; if not, that is told."""
        if self.manifest.vouches(index, chunk):
            return True
        self.on_reject(index)
        return False


class Figures(NamedTuple):
    """What a disk has taken: bytes settled, bytes written, write operations."""

    effective: int
    actual: int
    writes: int


class ChunkSink(Protocol):
    """Where full chunks go; ``submit``, ``check`` and ``finish`` raise what went wrong."""

    def __enter__(self) -> Self:
        """Enter: the threads end on the way out."""

    def __exit__(self, *_: object) -> None:
        """Drop what is not yet written."""

    def start(self, size: int) -> None:
        """Start, for a file of ``size`` bytes."""

    def submit(self, index: int, chunk: memoryview) -> None:
        """Take a chunk, whose buffer stays the disk's until it is reported done or rejected."""

    def check(self) -> None:
        """Raise what has gone wrong meanwhile."""

    def finish(self) -> Figures:
        """Wait until all is on the disk."""

    def verify(self) -> tuple[int, bool]:
        """Read all back, compare; return how many bytes, and whether all came from the disk."""


class ImageDisk:
    """Writes an image's chunks onto a disk, in their order where the disk takes no other."""

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        target: Target,
        on_chunk: OnChunk,
        expected: Expected,
        *,
        memory_mib: int,
        verify: bool = False,
        vouching: ManifestCheck | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._say = say
        self._target = target
        self._on_chunk = on_chunk
        self._expected = expected
        self._memory_mib = memory_mib
        self._verify = verify
        self._vouching = vouching
        self._last = 0
        self._restorer: Restorer | None = None
        self._gate: Gate | None = None
        self._early: dict[int, memoryview] = {}
        self._next = 0

    def __enter__(self) -> Self:
        """Enter: the threads end on the way out; the target stays its owner's."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is not yet written."""
        if self._restorer is not None:
            self._restorer.abort()

    def start(self, size: int) -> None:
        """Start the threads, for an image of ``size`` bytes."""
        self._restorer = Restorer(
            self._target,
            memory_mib=self._memory_mib,
            on_chunk=self._chunk_done,
            verify=self._verify,
            manifest=self._vouching.manifest if self._vouching else None,
            on_unvouched=self._vouching.on_reject if self._vouching else None,
        )
        self._last = -(-size // CHUNK_SIZE) - 1
        self._gate = Gate(self._target, self._last, self._begin)

    def _begin(self, first: memoryview, extent: ImageExtent) -> None:
        for remark in self._running.begin(first, extent):
            self._say(remark)

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
        """Check a chunk, and give it to the threads, now or when the last one has come.

        A chunk by which others are judged is checked here, the others in the threads.
        """
        if self._gate is None:
            raise RuntimeError("the disk was not started")
        if self._vouching and self._decides(index) and not self._vouching.admits(index, chunk):
            return
        self._expected.check(index, chunk)
        for admitted in self._gate.admit(index, chunk):
            self._put(*admitted)

    def _decides(self, index: int) -> bool:
        """Whether something is decided by a chunk before a thread has checked it."""
        return self._expected.is_given or self._target.is_ordered or index in {0, self._last}

    def _put(self, index: int, chunk: memoryview) -> None:
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
        if self._running.has_lost:
            self._say(f"{self._target.name}: {LOST}")
        return Figures(totals.effective, totals.actual, totals.writes)

    def verify(self) -> tuple[int, bool]:
        """Compare the disk with what was received."""
        return self._running.verify()


class RawDisk:
    """A file that takes chunks as they are."""

    def __init__(
        self,
        path: str,
        on_chunk: OnChunk,
        *,
        keep_size: bool = False,
        verify: bool = False,
        force: bool = False,
        vouching: ManifestCheck | None = None,
    ) -> None:
        self._path = path
        self._force = force
        self._vouching = vouching
        self._keep_size = keep_size
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
        """Open the file, which is to take ``size`` bytes, and start the thread."""
        self._size = size
        self._writer = RawWriter(
            self._path,
            size,
            self._chunk_done,
            keep_size=self._keep_size,
            verify=self._verify,
            force=self._force,
            admits=self._vouching.admits if self._vouching else None,
        )

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
        return self._running.verify()


def refuse_slice_type(path: str, number: int, kind: int) -> None:
    """Raise PartitionError where slice ``number`` of a disk cannot be given a type."""
    from rhubarbe.imaging.slicetype import type_changes

    with Path(path).open("rb", buffering=0) as disk:
        type_changes(disk.fileno(), path, number, kind)


def set_slice_type(path: str, number: int, kind: int) -> None:
    """Set the type of slice ``number`` in the table of a disk; raise PartitionError."""
    from rhubarbe.imaging.slicetype import type_changes, write_changes

    with Path(path).open("r+b", buffering=0) as disk:
        write_changes(disk.fileno(), type_changes(disk.fileno(), path, number, kind))
