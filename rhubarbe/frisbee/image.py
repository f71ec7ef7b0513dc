"""The file that is served."""

import os
from contextlib import suppress
from pathlib import Path

from rhubarbe.frisbee.errors import FrisbeeError, ImageChanged
from rhubarbe.frisbee.packets import BLOCK_SIZE, CHUNK_SIZE
from rhubarbe.ndz.mark import edition
from rhubarbe.ndz.rows import fill


class ServedImage:
    """The file that is served: read right into the packets that bear it."""

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - closed by `close`
            try:
                self.size = self._file.seek(0, os.SEEK_END)
                self._file.read(1)
                self._edition = edition(self._file.fileno())
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise FrisbeeError(f"Cannot read {path}: {error.strerror}") from error
        if not self.size:
            self._file.close()
            raise FrisbeeError(f"Cannot read {path}: it is empty")

    def check(self) -> None:
        """Raise ImageChanged where the file was written to since it was opened."""
        if edition(self._file.fileno()) != self._edition:
            raise ImageChanged(
                f"{self.name} was changed while it was served: it is served no longer"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def will_need(self, chunk: int) -> None:
        """Have the kernel read ahead what is served next."""
        with suppress(OSError):  # it is advice
            os.posix_fadvise(
                self._file.fileno(), chunk * CHUNK_SIZE, CHUNK_SIZE, os.POSIX_FADV_WILLNEED
            )

    def read(self, chunk: int, first: int, places: list[memoryview]) -> None:
        """Read blocks of ``chunk`` from ``first`` on into ``places``, 1024 bytes each.

        The end of the file is padded with zeroes. Raises FrisbeeError where it cannot be read, or
        is shorter than it was, and ImageChanged where it is another than it was.
        """
        start = chunk * CHUNK_SIZE + first * BLOCK_SIZE
        wanted = min(len(places) * BLOCK_SIZE, self.size - start)
        try:
            got = fill(self._file.fileno(), places, start, wanted)
        except OSError as error:
            raise self._unreadable(chunk, str(error.strerror)) from error
        self.check()
        if got < wanted:
            raise self._unreadable(chunk, "the file is cut short")
        if wanted < len(places) * BLOCK_SIZE:
            places[-1][wanted % BLOCK_SIZE :] = bytes(-wanted % BLOCK_SIZE)

    def _unreadable(self, chunk: int, why: str) -> FrisbeeError:
        return FrisbeeError(f"Cannot read chunk {chunk} of {self.name}: {why}")
