"""Writes the bytes of a file as they are (`frisbee -N`), in any order, in a thread of its own."""

import errno
import os
import queue
import stat
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

from rhubarbe.frisbee.errors import TransferFailed
from rhubarbe.frisbee.packets import CHUNK_SIZE
from rhubarbe.imaging.devices import open_target
from rhubarbe.imaging.verify import DiskReader

Chunk = bytes | bytearray | memoryview


def _open(path: str, size: int, *, keep_size: bool, force: bool) -> int:
    """Open what is to take ``size`` bytes; raise TransferFailed or TargetError otherwise."""
    descriptor = open_target(path, creates=not keep_size, force=force)
    if keep_size or stat.S_ISBLK(os.fstat(descriptor).st_mode):
        there = os.lseek(descriptor, 0, os.SEEK_END)
        if size > there:
            os.close(descriptor)
            raise TransferFailed(
                f"{path}: too small, nothing was written: write error: No space left on device "
                f"(the file has {size} bytes, the disk {there})"
            )
    return descriptor


class RawWriter:
    """Writes chunk after chunk of a file of ``size`` bytes to ``path``, which is made or emptied.

    With ``keep_size`` it is a disk of the size that it has, whose other content stays. A chunk's
    buffer is kept until ``on_chunk`` is called with its number, from the thread. A chunk that
    ``admits`` says no to is not written.
    """

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        path: str,
        size: int,
        on_chunk: Callable[[int], None],
        *,
        keep_size: bool = False,
        verify: bool = False,
        force: bool = False,
        admits: Callable[[int, memoryview], bool] | None = None,
    ) -> None:
        self._size = size
        self._admits = admits
        self._on_chunk = on_chunk
        self._queue: queue.SimpleQueue[tuple[int, Chunk] | None] = queue.SimpleQueue()
        self._error: OSError | None = None
        self._path = path
        self._verify = verify
        self._checks: dict[int, int] = {}
        self.writes = 0
        self._descriptor = _open(path, size, keep_size=keep_size, force=force)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, index: int, chunk: Chunk) -> None:
        """Hand over a chunk.

        Raises:
            TransferFailed: an earlier one could not be written.

        """
        self.check()
        self._queue.put((index, chunk))

    def check(self) -> None:
        """Raise what went wrong in the thread, if anything did."""
        if self._error is not None:
            raise TransferFailed(f"write error: {self._error.strerror}") from self._error

    def finish(self) -> None:
        """Wait until all is on the disk, synced.

        Raises:
            TransferFailed: it is not.

        """
        self._stop()
        self.check()

    def verify(self) -> tuple[int, bool]:
        """Read back what was written; return how many bytes, and whether all past the page cache.

        Raises:
            TransferFailed: the file holds anything else.

        """
        from rhubarbe.imaging.verify import DiskReader  # only on demand

        compared = 0
        with (
            Path(self._path).open("rb", buffering=0) as file,
            DiskReader(file.fileno(), self._path) as reader,
        ):
            for index in range(-(-self._size // CHUNK_SIZE)):
                compared += self._verify_chunk(reader, index)
            return compared, reader.is_proven

    def _verify_chunk(self, reader: "DiskReader", index: int) -> int:
        check = compared = 0
        start = index * CHUNK_SIZE
        for part in reader.read(start, min(CHUNK_SIZE, self._size - start)):
            check = zlib.crc32(part, check)
            compared += len(part)
        if check != self._checks[index]:
            raise TransferFailed(f"{self._path}: chunk {index} is not what was received")
        return compared

    def abort(self) -> None:
        """Stop after the chunk that is being written."""
        self._error = self._error or InterruptedError(4, "aborted")
        self._stop()

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _work(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if self._error is None:
                    self._write(*item)
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # such as /dev/null, which cannot be synced
                self._error = error

    def _write(self, index: int, chunk: Chunk) -> None:
        offset = index * CHUNK_SIZE
        rest = memoryview(chunk)[: max(0, self._size - offset)]
        if self._admits and not self._admits(index, rest):
            return
        if self._verify:
            self._checks[index] = zlib.crc32(rest)
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            offset += written
            rest = rest[written:]
            self.writes += 1
        self._on_chunk(index)
