"""Whether chunks that come in any order, in several threads, are one whole image."""

import threading

from rhubarbe.ndz.check import CheckedChunk, check_kind, check_seal, open_chunk
from rhubarbe.ndz.errors import DamagedChunk, TruncatedImage
from rhubarbe.ndz.header import Buffer


class ChunkSet:
    """Checks what chunks of one image say of each other, in any order, from several threads.

    For a reader that inflates them itself: it need not inflate them twice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        self._first: CheckedChunk | None = None
        self._total: int | None = None

    def open(self, chunk: Buffer, place: int) -> CheckedChunk:
        """Check header and seal of the chunk at `place`; raise NdzError naming it."""
        opened = open_chunk(chunk, place)
        header, seal = opened.header, opened.seal
        with self._lock:
            if self._first is None:
                self._first = opened
            check_kind(opened, self._first)
            check_seal(opened, self._first)
            if place in self._seen:
                raise DamagedChunk(place, "is there twice")
            self._seen.add(place)
            if seal and seal.is_last:
                self._total = seal.total
            elif header.version == 1 and header.total:
                self._total = header.total
        return opened

    def finish(self) -> None:
        """Say that no chunk follows; raise TruncatedImage naming the first that is missing."""
        if self._first is None:
            raise TruncatedImage("the image is empty")
        count = len(self._seen)
        is_open = self._first.seal is not None and self._total is None
        total = count + 1 if is_open else self._total or max(self._seen) + 1
        if missing := set(range(total)) - self._seen:
            raise TruncatedImage(f"chunk {min(missing)}: missing")
        if count > total:
            raise DamagedChunk(total, "follows the last chunk of the image")
